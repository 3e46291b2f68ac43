package download

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// TestServerThatNeverEnds: a server that sends a little and then nothing more
// holds nobody up for longer than its time.
func TestServerThatNeverEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("a little"))
		w.(http.Flusher).Flush()
		cancel() // the time is over
		<-r.Context().Done()
	}))
	defer server.Close()
	k := Keep{t.TempDir()}
	_, _, err := k.Get(ctx, server.URL+"/x", 100)
	if err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("it ends with %v", err)
	}
	if left, _ := os.ReadDir(k.Dir); len(left) == 1 {
		if left, _ = os.ReadDir(k.Dir + "/" + left[0].Name()); len(left) > 0 {
			t.Errorf("there is left %v", left)
		}
	}
}
