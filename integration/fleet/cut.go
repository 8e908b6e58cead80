package fleet

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Cut is a way in which a replica's network to the servers is broken.
type Cut int

// The ways. All but Latency hold for every packet from the moment on, of open and of
// new connections.
const (
	// Blackhole drops all packets from and to the servers.
	Blackhole Cut = iota
	// CutOut drops packets to the servers only.
	CutOut
	// CutIn drops packets from the servers only.
	CutIn
	// Loss drops one packet in ten, each way.
	Loss
	// Reset answers every packet with a reset of its connection, to whoever sent it.
	// An end that only waits learns nothing.
	Reset
	// Latency delays data by 200 ms, each way. It is for replicas that are Proxied.
	Latency
)

func (c Cut) String() string {
	switch c {
	case Blackhole:
		return "blackhole"
	case CutOut:
		return "cut-out"
	case CutIn:
		return "cut-in"
	case Loss:
		return "loss"
	case Reset:
		return "reset"
	case Latency:
		return "latency"
	default:
		return fmt.Sprintf("Cut(%d)", int(c))
	}
}

// Cut breaks the replica's network. What was cut before stays so.
func (r *Replica) Cut(ctx context.Context, c Cut) error {
	defer r.fleet.engine.Close()
	r.cutting.Lock()
	r.cuts[c] = true
	r.cutting.Unlock()
	var err error
	if c == Latency {
		err = r.setLatency(ctx, true)
	} else {
		err = r.applyRules(ctx)
	}
	if err != nil {
		return fmt.Errorf("fleet: cut replica %s (%s): %w", r.ID, c, err)
	}
	return nil
}

// Heal removes whatever was cut; not what Failover has cut.
func (r *Replica) Heal(ctx context.Context) error {
	defer r.fleet.engine.Close()
	r.cutting.Lock()
	slow := r.cuts[Latency]
	clear(r.cuts)
	r.cutting.Unlock()
	err := r.applyRules(ctx)
	if err == nil && slow {
		err = r.setLatency(ctx, false)
	}
	if err != nil {
		return fmt.Errorf("fleet: heal replica %s: %w", r.ID, err)
	}
	return nil
}

const (
	// lossRule is one packet in ten.
	lossRule = "numgen random mod 100 < 10 drop"
	// resetRule lets the resets themselves through.
	resetRule = "tcp flags & rst != rst reject with tcp reset"
)

// applyRules makes the rules of the replica's and of the other ends' networks what
// they should be.
//
// A packet is dropped where it arrives. If it were dropped where it is sent, the
// kernel would tell TCP, and the connection would not fail as over a real network.
func (r *Replica) applyRules(ctx context.Context) error {
	r.cutting.Lock()
	defer r.cutting.Unlock()
	lost := r.fleet.lostTo(r)
	scripts := map[*box]string{}
	for _, route := range r.routes {
		away := lost == route.server
		if rules := r.rulesHere(route, away); rules != "" {
			scripts[r.box] += rules
		}
		if rules := r.rulesThere(route, away); rules != "" {
			scripts[route.box] += rules
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, b := range r.ends() {
		script := scripts[b]
		if script == "" && !r.ruled[b] {
			continue
		}
		group.Go(func() error { return r.load(ctx, b, script) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, b := range r.ends() {
		r.ruled[b] = scripts[b] != ""
	}
	return nil
}

// ends are the containers in whose networks there may be rules about the replica.
func (r *Replica) ends() []*box {
	ends := []*box{r.box}
	for _, route := range r.routes {
		if route.box != ends[len(ends)-1] {
			ends = append(ends, route.box)
		}
	}
	return ends
}

// rulesHere are the rules about one route in the replica's own network.
func (r *Replica) rulesHere(route route, away bool) string {
	from := fmt.Sprintf("add rule ip %s in ip saddr %s tcp sport %d ", r.table(), route.ip, route.port)
	to := fmt.Sprintf("add rule ip %s out ip daddr %s tcp dport %d ", r.table(), route.ip, route.port)
	var rules strings.Builder
	if r.cuts[Reset] {
		rules.WriteString(from + resetRule + "\n" + to + resetRule + "\n")
	}
	if r.cuts[Blackhole] || r.cuts[CutIn] || away {
		rules.WriteString(from + "drop\n")
	}
	if r.cuts[Loss] {
		rules.WriteString(from + lossRule + "\n")
	}
	return rules.String()
}

// rulesThere are those in the network of the other end.
func (r *Replica) rulesThere(route route, away bool) string {
	from := fmt.Sprintf("add rule ip %s in ip saddr %s tcp dport %d ", r.table(), r.ip, route.port)
	var rules strings.Builder
	if r.cuts[Blackhole] || r.cuts[CutOut] || away {
		rules.WriteString(from + "drop\n")
	}
	if r.cuts[Loss] {
		rules.WriteString(from + lossRule + "\n")
	}
	return rules.String()
}

// firstRules are the rules that must hold before the replica's program starts. Its
// address is not known yet, so they drop what it sends where it is sent. applyRules
// puts others in their place.
func (r *Replica) firstRules() string {
	lost := r.fleet.lostTo(r)
	var rules strings.Builder
	for _, route := range r.routes {
		if lost == route.server {
			fmt.Fprintf(&rules, "add rule ip %s out ip daddr %s tcp dport %d drop\n", r.table(), route.ip, route.port)
		}
	}
	if rules.Len() == 0 {
		return ""
	}
	return r.newTable() + rules.String()
}

// table is the name of the table of rules about the replica.
func (r *Replica) table() string { return fmt.Sprintf("fleet_%d", r.number) }

// load replaces the rules in the network of a container at once. No rules: no table.
func (r *Replica) load(ctx context.Context, b *box, rules string) error {
	if !b.running() {
		return nil // its network went with it
	}
	script := fmt.Sprintf("add table ip %[1]s\ndelete table ip %[1]s\n", r.table())
	if rules != "" {
		script += r.newTable() + rules
	}
	_, err := b.exec(ctx, `nft -f - <<<"$1"`, script)
	if err != nil && !b.running() {
		return nil
	}
	return err
}

// newTable makes the table, in which what a rule answers to this machine itself is
// let through.
func (r *Replica) newTable() string {
	return fmt.Sprintf(`add table ip %[1]s
add chain ip %[1]s in { type filter hook input priority 0; }
add chain ip %[1]s out { type filter hook output priority 0; }
add rule ip %[1]s in iif lo accept
`, r.table())
}

// dropRules removes the rules from the other ends' networks. The caller holds cutting.
func (r *Replica) dropRules(ctx context.Context) error {
	clear(r.cuts)
	group, ctx := errgroup.WithContext(ctx)
	for _, b := range r.ends()[1:] {
		if r.ruled[b] {
			group.Go(func() error { return r.load(ctx, b, "") })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	clear(r.ruled)
	return nil
}
