package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// streamsMax is how many pages are kept up to date at once.
	streamsMax = 100

	// streamInterval is how often a page is looked at for changes.
	streamInterval = time.Second

	// streamKeepAlive is how often a stream without changes says that it lives, so that
	// no proxy takes it for dead.
	streamKeepAlive = 15 * time.Second
)

// fragment is a part of a page that changes: the template of an element, its id and
// its data.
type fragment struct {
	template, id string
	data         any
}

// part is a fragment as HTML.
type part struct {
	id   string
	html template.HTML
	hash uint64
}

//nolint:gochecknoglobals // chosen once, never changed
var partSeed = maphash.MakeSeed()

func newPart(id string, html []byte) part {
	return part{id, template.HTML(html), maphash.Bytes(partSeed, html)} //nolint:gosec // a template's
}

// shownOf is what a page holds, for its stream's address: the ids and hashes of its
// parts. On another replica they mean nothing, and the parts are sent again.
func shownOf(parts []part) string {
	texts := make([]string, 0, len(parts))
	for _, part := range parts {
		texts = append(texts, fmt.Sprintf("%s.%x", part.id, part.hash))
	}
	return url.Values{"shown": texts}.Encode()
}

// shownBy reads what shownOf has written.
func shownBy(r *http.Request) map[string]uint64 {
	shown := make(map[string]uint64)
	for _, text := range r.URL.Query()["shown"] {
		id, hash, _ := strings.Cut(text, ".")
		if n, err := strconv.ParseUint(hash, 16, 64); err == nil {
			shown[id] = n
		}
	}
	return shown
}

// changing reads the parts of a page, and says whether there is anything left to change.
type changing func(ctx context.Context, c *call) (parts []part, last bool, err error)

var errTooManyStreams = errors.New("too many pages are kept up to date by this replica")

// live serves the changes of a page as server-sent events: each is the HTML of the
// elements that have changed, by id. shown says what the page holds already.
func (s *Server) live(read changing, shown func(r *http.Request) map[string]uint64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			s.site.writeRefusal(w, r, &refusal{http.StatusMethodNotAllowed, "method", "a stream has no head of its own: GET it"})
			return
		}
		select {
		case s.streams <- struct{}{}:
			defer func() { <-s.streams }()
		default:
			s.site.writeRefusal(w, r, &refusal{http.StatusServiceUnavailable, "too_many", errTooManyStreams.Error()})
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no") // nginx would keep it back
		stream := &stream{w: w, control: http.NewResponseController(w), sent: make(map[string]uint64), quiet: time.Now(), began: time.Now()}
		maps.Copy(stream.sent, shown(r))
		ticker := time.NewTicker(streamInterval)
		defer ticker.Stop()
		for {
			last, err := s.step(r, stream, read)
			if err != nil || last {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-s.ending:
				return
			case <-ticker.C:
			}
		}
	}
}

// step sends what has changed. An error is that of the stream: what cannot be read now
// may be read the next time.
func (s *Server) step(r *http.Request, stream *stream, read changing) (last bool, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	client, err := s.source.get(ctx)
	if err != nil {
		return false, stream.send("trouble", refusalOf(err).message)
	}
	parts, last, err := read(ctx, &call{client: client, server: s, r: r, since: stream.began})
	if err != nil {
		return false, stream.send("trouble", refusalOf(err).message)
	}
	return last, stream.patch(parts, last)
}

// stream is a page that is kept up to date.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	// sent is the hash of each element as it was sent last.
	sent  map[string]uint64
	quiet time.Time
	// began is later than when what the page holds was read.
	began time.Time
}

// patch sends the elements that have changed.
func (s *stream) patch(parts []part, last bool) error {
	changed := make(map[string]template.HTML)
	for _, part := range parts {
		if s.sent[part.id] != part.hash {
			s.sent[part.id] = part.hash
			changed[part.id] = part.html
		}
	}
	if len(changed) > 0 || last {
		return s.send("patch", struct {
			Elements map[string]template.HTML `json:"elements"`
			Last     bool                     `json:"last"`
		}{changed, last})
	}
	if time.Since(s.quiet) < streamKeepAlive {
		return nil
	}
	return s.send("alive", nil)
}

// send sends an event.
func (s *stream) send(event string, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.w, "event: %s\ndata: %s\n\n", event, encoded); err != nil {
		return err
	}
	s.quiet = time.Now()
	return s.control.Flush()
}

func (s *Server) overviewParts(ctx context.Context, _ *call) ([]part, bool, error) {
	snapshot, err := s.overview.get(ctx)
	if err != nil {
		return nil, false, err
	}
	return snapshot.parts, false, nil
}

func (s *Server) jobParts(ctx context.Context, c *call) ([]part, bool, error) {
	parts, err := s.jobStreams.of(c.name()).since(ctx, c.since, func(ctx context.Context) ([]part, time.Duration, error) {
		data, _, _, err := s.readJob(ctx, c)
		return data.parts, streamInterval, err
	})
	return parts, false, err
}

// jobStreams holds what changes on the jobs' pages, read once for all who look at a job.
type jobStreams struct {
	mu    sync.Mutex
	byJob map[string]*shared[[]part]
}

// jobStreamsMax bounds it: names come from addresses.
const jobStreamsMax = 1000

func (j *jobStreams) of(name string) *shared[[]part] {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.byJob == nil || len(j.byJob) >= jobStreamsMax {
		j.byJob = make(map[string]*shared[[]part])
	}
	if j.byJob[name] == nil {
		j.byJob[name] = newShared[[]part]()
	}
	return j.byJob[name]
}

func (s *Server) runParts(ctx context.Context, c *call) ([]part, bool, error) {
	data, err := s.readRun(ctx, c)
	return data.parts, data.Run.Ended, err
}
