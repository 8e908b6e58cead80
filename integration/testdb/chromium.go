package testdb

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
)

// chromiumImage is what integration/image/chromium.sh makes.
const chromiumImage = "scheduler-test-chromium"

// chromiumFlags are its flags: root needs no-sandbox, and a container's /dev/shm is
// small. The port is one that is free; its log says which.
var chromiumFlags = []string{
	"--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
	"--remote-debugging-address=127.0.0.1", "--remote-debugging-port=0", "about:blank",
}

// noNetlink refuses netlink sockets (AF_NETLINK is 16). By those Chromium hears that an
// interface comes or goes, as with every container that is started on this machine, and
// would break off its requests: ERR_NETWORK_CHANGED.
const noNetlink = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}]}]}`

var devTools = regexp.MustCompile(`DevTools listening on (ws://\S+)`)

// Chromium returns the address of a headless Chromium's DevTools. It is started by the
// first call, one for the process, with this machine's network: it reaches what listens
// on the loopback here, and nobody else reaches it. [Main] removes it.
var Chromium = sync.OnceValues(func() (string, error) {
	if !supervised.Load() {
		return "", errors.New("the browser would stay: call testdb.Main from this package's TestMain, func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }")
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	d, err := connect()
	if err != nil {
		return "", err
	}
	defer d.Close()
	return d.chromium(ctx)
})

func (d *docker) chromium(ctx context.Context) (string, error) {
	if !d.local {
		return "", fmt.Errorf("docker at %s is on another machine, where a browser does not reach this one's loopback: name a browser of this machine in SCHEDULER_TEST_CHROMIUM", d.DaemonHost())
	}
	if _, err := d.ImageInspect(ctx, chromiumImage); errdefs.IsNotFound(err) {
		return "", fmt.Errorf("no image %s: run `make image`, or name a browser of this machine in SCHEDULER_TEST_CHROMIUM", chromiumImage)
	}
	c, err := d.run(ctx, chromiumImage, testcontainers.WithCmd(chromiumFlags...),
		testcontainers.WithHostConfigModifier(func(c *container.HostConfig) {
			c.NetworkMode, c.SecurityOpt = "host", []string{"seccomp=" + noNetlink}
		}))
	if err != nil {
		return "", err
	}
	var address string
	err = d.await(ctx, c, func(ctx context.Context) error {
		text, err := containerLog(ctx, c)
		if err != nil {
			return err
		}
		match := devTools.FindStringSubmatch(text)
		if match == nil {
			return errors.New("it has not said where its DevTools are")
		}
		address = match[1]
		return nil
	})
	if err != nil {
		return "", errors.Join(fmt.Errorf("start Chromium: %w", err), d.remove(context.WithoutCancel(ctx), c.GetContainerID()))
	}
	return address, nil
}
