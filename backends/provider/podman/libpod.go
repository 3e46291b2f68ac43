package podman

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"archetype/backends/provider/dockerapi"
)

// libpod asks Podman by its own API for what Docker's does not have.
func libpod(ctx context.Context, cli *client.Client, path string, answer any) error {
	res, err := dockerapi.Get(ctx, cli, "/v4.0.0/libpod/"+path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		var said struct{ Message string }
		b, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		if json.Unmarshal(b, &said) != nil || said.Message == "" {
			said.Message = res.Status
		}
		err := fmt.Errorf("podman: %s", said.Message)
		if res.StatusCode == http.StatusNotFound {
			err = fmt.Errorf("%w (%w)", err, cerrdefs.ErrNotFound)
		}
		return err
	}
	return json.NewDecoder(res.Body).Decode(answer)
}

// bridge is the interface of the machine that a network's containers meet at.
func bridge(ctx context.Context, cli *client.Client, network string) (string, error) {
	var n struct {
		Interface string `json:"network_interface"`
	}
	err := libpod(ctx, cli, "networks/"+url.PathEscape(network)+"/json", &n)
	return n.Interface, err
}

// check runs a container's health check. Podman keeps what it found.
func check(ctx context.Context, cli *client.Client, id string) error {
	var found struct{ Status string }
	return libpod(ctx, cli, "containers/"+id+"/healthcheck", &found)
}

// systemd reports whether this machine is run by it.
func systemd() bool {
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

// unifiedGroups reports whether this machine's control groups are those of
// version 2, of which an ordinary user can be given some.
func unifiedGroups() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}
