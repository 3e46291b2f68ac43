package holder

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"testing"
)

// Whatever comes to the holder, or as its answer: it is a request or an
// answer, or an error; what is understood stays the same when it is said again.
func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"op":"create","ref":{"lab":"l","node":"n"},"node":{"Ref":{"lab":"l","node":"n"},"Folder":"/x","Config":{}}}` + "\n"))
	f.Add([]byte(`{"error":"no such node","missing":true}` + "\n" + `{"info":{"pid":1,"protocol":2}}` + "\n"))
	f.Add([]byte("{\"op\":\"stop\",\"grace\":99999999999999999999}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(bytes.NewReader(data))
		for {
			req, err := readRequest(r)
			var bad *misunderstood
			if err != nil {
				if !errors.As(err, &bad) && !errors.Is(err, io.EOF) {
					t.Fatalf("%q: %v", data, err)
				}
				break
			}
			said, err := json.Marshal(req)
			if err != nil {
				t.Fatalf("%+v cannot be said: %v", req, err)
			}
			again, err := readRequest(bufio.NewReader(bytes.NewReader(append(said, '\n'))))
			if err != nil {
				t.Fatalf("%+v became %+v: %v", req, again, err)
			}
			if req.Node == nil && !reflect.DeepEqual(req, again) && len(req.Argv)+len(req.Env) > 0 {
				t.Fatalf("%+v became %+v", req, again)
			}
		}
		for line := range bytes.Lines(data) {
			if resp, err := answer(line); err == nil && resp == nil {
				t.Fatalf("%q is nothing and no error", line)
			}
		}
	})
}

// A request without an end is given up.
func TestRequestIsBounded(t *testing.T) {
	endless := bufio.NewReader(io.LimitReader(zeros{}, 10*maxRequest))
	var bad *misunderstood
	if _, err := readRequest(endless); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
