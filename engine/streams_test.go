package engine

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"archetype/backends"
	"archetype/backends/provider/logfile"
	"archetype/backends/provider/serialline"
	"archetype/vendors"
)

const (
	streams    = 50
	streamFor  = 10        // seconds
	streamEach = 1_000_000 // bytes a second, of each
	streamKind = "cisco_xrv9k"
	streamEnds = "SYSTEM CONFIGURATION COMPLETED" // a line that earns per cent in that kind
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// spoken are machines whose serial lines somebody else writes, and what was
// read of each.
type spoken struct {
	backends.Provider
	lines map[string]*serialline.Line
	read  map[string]*summed
}

// summed counts what passes.
type summed struct {
	io.ReadCloser
	sum   uint32
	bytes atomic.Int64
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.sum = crc32.Update(s.sum, castagnoli, p[:n])
	s.bytes.Add(int64(n))
	return n, err
}

func (p *spoken) Logs(ctx context.Context, ref backends.NodeRef, _ backends.LogOptions) (io.ReadCloser, error) {
	r, err := p.lines[ref.Node].Read(ctx, logfile.Options{Follow: true})
	p.read[ref.Node].ReadCloser = r
	return p.read[ref.Node], err
}

// BenchmarkStreams watches the boots of machines that never stop talking: one
// megabyte a second each, by the patterns and the dialogue of a kind.
func BenchmarkStreams(b *testing.B) {
	kinds, _, err := vendors.Load("")
	if err != nil {
		b.Fatal(err)
	}
	k, _ := kinds.Kind(streamKind)
	k = k.AsVM()
	logs, err := logfile.New()
	if err != nil {
		b.Fatal(err)
	}
	defer logs.Close()
	p := &spoken{lines: map[string]*serialline.Line{}, read: map[string]*summed{}}
	dir := b.TempDir()
	var names, files []string
	for i := range streams {
		name := fmt.Sprintf("n%d", i)
		d := filepath.Join(dir, name)
		if err := os.Mkdir(d, 0o700); err != nil {
			b.Fatal(err)
		}
		names, files = append(names, name), append(files, filepath.Join(d, serialline.Record))
		p.lines[name], p.read[name] = serialline.New(logs, d, ""), &summed{}
	}
	// Who writes the records is another process, as the emulators are.
	tee := exec.CommandContext(b.Context(), "tee", append([]string{"-a"}, files...)...)
	in, err := tee.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := tee.Start(); err != nil {
		b.Skip("no tee: ", err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var done, watching sync.WaitGroup
	done.Add(streams)
	for _, name := range names {
		seen := false
		w := bootWatch{provider: p, ref: backends.NodeRef{Lab: "l", Node: name}, kind: k, timeout: time.Hour, facts: vendors.FactsOf(k, name, "", nil),
			report: func(r bootReport) {
				if r.percent >= 65 && !seen {
					seen = true
					done.Done()
				}
			}}
		watching.Go(func() { w.run(ctx) })
	}
	sent, sum, used, begin := 0, uint32(0), processorTime(b), time.Now()
	say := func(text []byte) {
		sum = crc32.Update(sum, castagnoli, text)
		sent += len(text)
		if _, err := in.Write(text); err != nil {
			b.Fatal(err)
		}
	}
	var most uint64
	for i := 0; sent < streamFor*streamEach; i++ {
		say(fmt.Appendf(nil, "\x1b[0m[%12.6f] composed: module %d of the switch fabric answers, sequence %d\r\n", float64(i)/1000, i%64, i))
		if i%1000 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			time.Sleep(time.Until(begin.Add(time.Duration(sent) * time.Second / streamEach)))
		}
	}
	say([]byte(streamEnds + "\r\n"))
	last := time.Now()
	done.Wait()
	took, used := time.Since(begin), processorTime(b)-used
	lag := time.Since(last)
	cancel()
	watching.Wait()
	if err := in.Close(); err != nil {
		b.Fatal(err)
	}
	if err := tee.Wait(); err != nil {
		b.Fatal(err)
	}
	for i, name := range names {
		data, err := os.ReadFile(files[i])
		if err != nil {
			b.Fatal(err)
		}
		if got := crc32.Checksum(data, castagnoli); got != sum {
			b.Errorf("%s: the record is not what was sent: %d bytes of %d", name, len(data), sent)
		}
		if r := p.read[name]; r.sum != sum {
			b.Errorf("%s: what was read is not what was sent: %d bytes of %d", name, r.bytes.Load(), sent)
		}
	}
	grep := exec.Command("grep", slices.Concat([]string{"-c", "-E", patternsOf(k)}, files)...)
	grep.Stdout = io.Discard
	if err := grep.Run(); err != nil {
		b.Fatal(err)
	}
	yard := grep.ProcessState.UserTime() + grep.ProcessState.SystemTime()
	total := float64(sent) * streams / 1e6
	b.ReportMetric(total/took.Seconds(), "MB/s")
	b.ReportMetric(used.Seconds()/took.Seconds()*100, "cpu-percent")
	b.ReportMetric(float64(used.Microseconds())/1000/total, "cpu-ms/MB")
	b.ReportMetric(float64(yard.Microseconds())/1000/total, "grep-ms/MB")
	b.ReportMetric(float64(most)/1e6, "MB")
	b.ReportMetric(float64(lag.Microseconds())/1000, "lag-ms")
	b.ReportMetric(0, "ns/op")
}

// patternsOf is all that a kind looks for in a line, as one expression.
func patternsOf(k *vendors.Kind) string {
	out := "composed by nobody"
	for _, p := range k.Progress {
		if p.Regexp != "" {
			out += "|" + "(" + strings.ReplaceAll(p.Regexp, "?:", "") + ")"
		} else {
			out += "|" + regexp.QuoteMeta(p.Text)
		}
	}
	return out
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
