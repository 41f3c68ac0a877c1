//go:build unix

package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// These variables make the test's own program the process that is killed: with the
// address of a file it fetches that, else it puts its standard input into the cache.
const (
	childCache = "ASSAY_FETCH_TEST_CACHE"
	childURL   = "ASSAY_FETCH_TEST_URL"
	childSum   = "ASSAY_FETCH_TEST_SUM"
)

// TestChild is the body of the processes that are killed, and nothing otherwise.
func TestChild(t *testing.T) {
	dir := os.Getenv(childCache)
	if dir == "" {
		return
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	sum := os.Getenv(childSum)
	if url := os.Getenv(childURL); url != "" {
		f := &Fetcher{Cache: c, Network: true, backoff: time.Nanosecond}
		if _, err := f.Fetch(t.Context(), Request{URL: url, SHA256: sum}); err != nil {
			t.Fatal(err)
		}
		return
	}
	if _, err := c.Put(t.Context(), sum, 1<<30, func(w io.Writer) error {
		_, err := io.Copy(w, os.Stdin)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func child(t *testing.T, dir, url, sum string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.count=1")
	cmd.Env = append(os.Environ(), childCache+"="+dir, childURL+"="+url, childSum+"="+sum)
	t.Cleanup(func() {
		if cmd.Process != nil && cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
		}
	})
	return cmd
}

func kill(cmds []*exec.Cmd) {
	for _, cmd := range cmds {
		_ = cmd.Process.Kill()
	}
	for _, cmd := range cmds {
		_ = cmd.Wait()
	}
}

func rounds() int {
	if testing.Short() {
		return 10
	}
	return 100
}

// A download that is killed a hundred times, at a hundred places, goes on each time with the byte that came last.
func TestKilledDownloads(t *testing.T) {
	const size, portion = 8 << 20, 64 << 10
	data := noise(size, 1)
	var (
		mu     sync.Mutex
		starts []int64 // first byte of each reply
		served int64
		open   = false // send all of it
	)
	sent := make(chan int64, 1000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", tag)
		mu.Lock()
		all := open
		first := int64(0)
		if h := r.Header.Get("Range"); h != "" && r.Header.Get("If-Range") == tag {
			first, _ = strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(h, "bytes="), "-"), 10, 64)
		}
		starts = append(starts, first)
		mu.Unlock()
		if all {
			whole(data, tag)(w, r)
			return
		}
		if first > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, size-1, size))
		}
		w.Header().Set("Content-Length", fmt.Sprint(size-first))
		if first > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		n, _ := w.Write(data[first:min(first+portion, size-1)])
		_ = http.NewResponseController(w).Flush()
		mu.Lock()
		served += int64(n)
		mu.Unlock()
		sent <- first + int64(n)
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close) // after the processes
	c, err := Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	// came is how much of it lies in the cache.
	came := func() int64 {
		info, err := os.Stat(filepath.Join(c.Dir(), "partial", hexSum([]byte(s.URL))))
		if errors.Is(err, os.ErrNotExist) {
			return 0
		}
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	var had int64
	for round := range rounds() {
		processes := 1
		if round%10 == 9 {
			processes = 3
		}
		var cmds []*exec.Cmd
		for range processes {
			cmd := child(t, c.Dir(), s.URL, hexSum(data))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmds = append(cmds, cmd)
		}
		to := <-sent
		if round%2 == 1 { // else at once, in the middle of whatever it does
			for deadline := time.Now().Add(time.Minute); came() < to; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatalf("round %d: %d bytes were sent, and %d are there", round, to, came())
				}
			}
		}
		kill(cmds)
		for len(sent) > 0 { // another of the three may have been quick
			<-sent
		}
		now := came()
		if now < had {
			t.Fatalf("round %d: there were %d bytes, now %d", round, had, now)
		}
		if _, err := c.Get(t.Context(), hexSum(data)); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("round %d: half a file is handed out: %v", round, err)
		}
		mu.Lock()
		if processes == 1 && starts[len(starts)-1] != had {
			t.Fatalf("round %d: %d bytes were there, and it went on at %d", round, had, starts[len(starts)-1])
		}
		mu.Unlock()
		had = now
	}
	if had < int64(rounds()/2)*portion {
		t.Errorf("only %d bytes came", had)
	}
	mu.Lock()
	open = true
	mu.Unlock()
	var cmds []*exec.Cmd
	for range 3 {
		cmd := child(t, c.Dir(), s.URL, hexSum(data))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if last := starts[len(starts)-1]; last != had {
		t.Errorf("the rest was fetched from %d, where %d were there", last, had)
	}
	if limit := int64(len(starts)) * portion; served > limit {
		t.Errorf("%d bytes were served in %d replies", served, len(starts))
	}
	f, err := c.Get(t.Context(), hexSum(data))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(b, data) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	// Who is killed while it notes what it fetches leaves the note.
	if _, err := c.Prune(t.Context(), Pruning{}); err != nil {
		t.Fatal(err)
	}
	nothingPartial(t, c)
	t.Logf("%d replies, %d bytes of %d before the last", len(starts), served, size)
}

// A file that is put into the cache is there or not, whenever its writer is killed.
func TestKilledWrites(t *testing.T) {
	data := noise(1<<20, 1)
	c, err := Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	there := 0
	for round := range rounds() {
		processes := 1
		if round%10 == 9 {
			processes = 3
		}
		var cmds []*exec.Cmd
		for range processes {
			cmd := child(t, c.Dir(), "", hexSum(data))
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmds = append(cmds, cmd)
			n := len(data)
			if round%2 == 0 { // in the middle of it, where a pipe takes what is written
				n = 1 + (len(data)-1)*round/rounds()
			}
			if _, err := stdin.Write(data[:n]); err != nil {
				t.Fatal(err)
			}
			if n == len(data) {
				stdin.Close()                         // and while it is given its place
				for range round * 60_000 / rounds() { // sooner or later
					runtime.Gosched()
				}
			}
		}
		kill(cmds)
		f, err := c.Get(t.Context(), hexSum(data))
		switch {
		case err == nil:
			b, err := io.ReadAll(f)
			f.Close()
			if err != nil || !bytes.Equal(b, data) {
				t.Fatalf("round %d: %d bytes, %v", round, len(b), err)
			}
			there++
			if err := os.Remove(f.Name()); err != nil {
				t.Fatal(err)
			}
		case !errors.Is(err, os.ErrNotExist):
			t.Fatalf("round %d: %v", round, err)
		}
		if l, err := c.List(); err != nil || len(l.Entries) != 0 {
			t.Fatalf("round %d: %+v, %v", round, l, err)
		}
	}
	t.Logf("%d of %d were done before they were killed", there, rounds())
	cmd := child(t, c.Dir(), "", hexSum(data))
	cmd.Stdin = bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pruned, err := c.Prune(t.Context(), Pruning{})
	if err != nil || pruned.Live != 0 || len(pruned.Entries) != 0 || len(pruned.Leftovers) == 0 || pruned.Kept != int64(len(data)) {
		t.Errorf("%+v, %v", pruned, err)
	}
	nothingPartial(t, c)
	if f, err := c.Get(t.Context(), hexSum(data)); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
}
