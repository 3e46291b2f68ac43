package topology

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"archetype/lab"
)

// parseIn reads a text as a file of a folder that holds other files.
func parseIn(t *testing.T, text string, files map[string]string, vars ...string) (*lab.Topology, []lab.Diagnostic, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "t.clab.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, Options{Env: env(vars...), Kinds: kinds(t)})
}

const full = `
name: l
mgmt:
  network: custom
  bridge: br-mgmt
  ipv4-subnet: 172.100.100.0/24
  ipv4-gw: 172.100.100.1
  ipv4-range: 172.100.100.128/25
  ipv6-subnet: auto
  mtu: 1400
  external-access: false
  driver-opts: {x: y}
topology:
  defaults:
    cap-add: [NET_ADMIN]
    devices: [/dev/net/tun]
    env-files: [base.env]
    tmpfs: {/run: rw}
    ports: ["1:1"]
    dns: {servers: [192.0.2.1]}
    shm-size: 64MiB
    privileged: true
    stages:
      create: {wait-for: [{node: b, stage: healthy}]}
  kinds:
    linux:
      cap-add: [CAP_SYS_ADMIN, net_admin]
      security-opts: [seccomp=unconfined]
      restart-policy: no
      image-pull-policy: always
      memory: 1Gb
  groups:
    g:
      kind: linux
      group: other
      env-files: [group.env]
      ports: ["2:2"]
      cpu: 1.5
      cpu-set: 0-1
      exec: [ls]
  nodes:
    a:
      group: g
      env: {B: node, D: "__clabNodeName__ __clabLabName__"}
      exec: [ls, echo __clabNodeDir__]
      tmpfs: [/tmp]
      privileged: false
      mgmt-ipv4: 172.100.100.11
      mgmt-ipv6: "2001:db8::11"
      aliases: [a.example.com]
      hostname: alpha
      network-mode: container:b
      pid-mode: host
      cgroupns-mode: private
      cgroup-parent: lab.slice
      ulimits: ["nofile=1024:2048"]
      volumes: [data:/data:ro, /var/log]
      auto-remove: true
      startup-delay: 5
      enforce-startup-config: true
      runtime: podman
      healthcheck: {test: [CMD-SHELL, "true"], interval: 5, timeout: 2, start-period: 3, retries: 4}
      stages:
        create:
          wait-for: [{node: b, stage: healthy}, {node: c, stage: create-links}]
          exec: [{command: "touch __clabNodeName__", target: host, phase: on-exit}]
    b: {kind: linux, suppress-startup-config: true, stages: {create: }, network-mode: none}
    c: {kind: linux}
`

func TestContainerFields(t *testing.T) {
	// b and c wait for b: the default does it.
	text := strings.Replace(full, "node: b, stage: healthy", "node: d, stage: healthy", 1) + "    d: {kind: bridge}\n"
	text = strings.Replace(text, "stages:\n      create: {wait-for: [{node: d, stage: healthy}]}", "mtu: 1400", 1)
	top, warnings, err := parseIn(t, text, map[string]string{
		"base.env":  "A=base\nB=base\nC=base # why\n",
		"group.env": "export C='group $x'\n\n# nothing\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	a := top.Nodes[0]
	dir := filepath.Dir(top.File)
	if want := map[string]string{"A": "base", "B": "node", "C": "group $x", "D": "a clab-l"}; !mapsEqual(a.Env, want) {
		t.Errorf("env %v, want %v", a.Env, want)
	}
	if want := []string{"ls", "echo " + filepath.Join(dir, "clab-l", "a")}; !slices.Equal(a.Exec, want) {
		t.Errorf("exec %q, want %q", a.Exec, want)
	}
	got, _ := json.Marshal(a.Container)
	want := `{"image_pull_policy":"Always","privileged":false,"cap_add":["NET_ADMIN","SYS_ADMIN"],"devices":["/dev/net/tun"],` +
		`"ports":["2:2"],"shm_size":67108864,"memory":1000000000,"cpu":1.5,"cpu_set":"0-1","tmpfs":["/run:rw","/tmp"],` +
		`"volumes":["data:/data:ro","/var/log"],"security_opt":["seccomp=unconfined"],"ulimits":["nofile=1024:2048"],` +
		`"restart_policy":"no","auto_remove":true,"network_mode":"container:b","mgmt_ipv4":"172.100.100.11",` +
		`"mgmt_ipv6":"2001:db8::11","hostname":"alpha","aliases":["a.example.com"],"pid_mode":"host","cgroupns_mode":"private",` +
		`"cgroup_parent":"lab.slice","dns":{"servers":["192.0.2.1"]},` +
		`"healthcheck":{"test":["CMD-SHELL","true"],"interval":5000000000,"timeout":2000000000,"start_period":3000000000,"retries":4}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if a.Provider != "podman" || a.StartupDelay != 5*time.Second || !a.EnforceConfig || !top.Nodes[1].SuppressConfig {
		t.Errorf("%+v", a)
	}
	got, _ = json.Marshal(a.Stages)
	want = `[{"stage":"create","wait_for":[{"node":"b","stage":"healthy"},{"node":"c","stage":"create-links"}],"exec":[{"command":"touch a","on_host":true,"on_exit":true}]}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got, _ = json.Marshal(top.Management)
	want = `{"network":"custom","bridge":"br-mgmt","ipv4_subnet":"172.100.100.0/24","ipv4_gw":"172.100.100.1","ipv4_range":"172.100.100.128/25","ipv6_subnet":"auto","mtu":1400,"external_access":false,"driver_opts":{"x":"y"}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(warnings) != 0 {
		t.Errorf("warnings: %v", warnings)
	}
	if b := top.Nodes[1]; len(b.Container.Ports) != 1 || b.Container.Ports[0] != "1:1" || b.Env["C"] != "base" || b.Container.Aliases != nil {
		t.Errorf("%+v", b)
	}
}

func mapsEqual(a, b map[string]string) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestContainerMistakes(t *testing.T) {
	node := func(fields string) string {
		return "name: l\ntopology:\n  nodes:\n    a: {kind: linux, " + fields + "}\n    b: {kind: linux}\n"
	}
	mgmt := func(of, node string) string {
		return "name: l\nmgmt: {" + of + "}\ntopology: {nodes: {a: {kind: linux, " + node + "}}}\n"
	}
	for name, tt := range map[string]struct{ file, want string }{
		"pull policy":     {node("image-pull-policy: Alwys"), `:4:41: error: node "a": image-pull-policy: unknown value "Alwys" (did you mean "Always"?)`},
		"memory":          {node("memory: lots"), `:4:30: error: node "a": memory: "lots" is not a size`},
		"huge memory":     {node("memory: 99999999EB"), "is not a size"},
		"cpu":             {node("cpu: -1"), "number of cores"},
		"cpu NaN":         {node("cpu: NaN"), "number of cores"},
		"port":            {node("ports: [http]"), `cannot read "http"`},
		"address":         {node("mgmt-ipv4: 10.0.0.1/24"), "leave the prefix length out"},
		"family":          {node(`mgmt-ipv4: "2001:db8::1"`), "other family"},
		"env file":        {node("env-files: [none.env]"), `:4:34: error: node "a": env-files: "none.env": no such file`},
		"env folder":      {node("env-files: [.]"), "not a regular file"},
		"privileged":      {node("privileged: perhaps"), "must be true or false"},
		"network mode":    {node("network-mode: hst"), `did you mean "host"?`},
		"health test":     {node("healthcheck: {test: [true]}"), "test begins with CMD"},
		"stage":           {node("stages: {creat: {}}"), `unknown stage "creat" (did you mean "create"?)`},
		"wait for whom":   {node("stages: {create: {wait-for: [{node: bb, stage: create}]}}"), `:4:51: error: wait-for: unknown node "bb" (did you mean "b"?)`},
		"wait for itself": {node("stages: {create: {wait-for: [{node: a, stage: healthy}]}}"), "wait-for goes round in a circle: a create"},
		"volume":          {node(`volumes: ["/x:/y"]`), "write it under binds"},
		"mgmt gateway":    {"name: l\nmgmt:\n  ipv4-subnet: 10.0.0.0/24\n  ipv4-gw: 10.0.1.1\ntopology: {nodes: {a: {kind: linux}}}\n", `:4:12: error: mgmt: ipv4-gw: 10.0.1.1 is not within 10.0.0.0/24`},
		"mgmt subnet":     {"name: l\nmgmt: {ipv4-subnet: 10.0.0.0}\ntopology: {nodes: {a: {kind: linux}}}\n", "is not a subnet"},
		"mgmt network":    {mgmt("network: my net", ""), `:2:17: error: mgmt: network "my net" cannot be a network's name`},
		"mgmt host":       {mgmt("network: host", ""), `mgmt: network "host" cannot be`},
		"mgmt bridge":     {mgmt("bridge: a-name-that-is-long", ""), `:2:16: error: mgmt: bridge "a-name-that-is-long" is longer`},
		"mgmt family":     {mgmt("ipv6-subnet: 10.0.0.0/24", ""), `:2:21: error: mgmt: ipv6-subnet: 10.0.0.0/24 belongs to the other family`},
		"mgmt range":      {mgmt("ipv4-subnet: 10.0.0.0/24, ipv4-range: 10.0.0.0/16", ""), `:2:46: error: mgmt: ipv4-range: 10.0.0.0/16 is not within`},
		"mgmt lone range": {mgmt("ipv6-subnet: \"fd00::/64\", ipv4-range: 10.0.0.0/25", ""), "mgmt: ipv4-range: 10.0.0.0/25 is in no subnet of the management network (give that family's subnet in mgmt)"},
		"mgmt auto":       {mgmt("ipv4-subnet: auto, ipv4-gw: 10.0.0.1", ""), "mgmt: ipv4-gw: 10.0.0.1 is in no subnet"},
		"mgmt default":    {mgmt("ipv4-gw: 10.0.0.1", ""), "mgmt: ipv4-gw: 10.0.0.1 is not within 172.20.20.0/24"},
		"mgmt mtu":        {mgmt("mtu: 10", ""), `:2:13: error: mgmt: mtu "10" must be a number within 68 to 65535`},
		"mgmt access":     {mgmt("external-access: maybe", ""), "mgmt: external-access must be true or false"},
		"mgmt options":    {mgmt("driver-opts: [a]", ""), `:2:21: error: mgmt: driver-opts must be a map`},
		"gateway's":       {mgmt("ipv4-subnet: 10.0.0.0/24, ipv4-gw: 10.0.0.7", "mgmt-ipv4: 10.0.0.7"), `node "a": mgmt-ipv4 10.0.0.7 is the gateway's already`},
		"subnet's":        {mgmt("ipv4-subnet: 10.0.0.0/24", "mgmt-ipv4: 10.0.0.0"), `mgmt-ipv4 10.0.0.0 is the subnet's already`},
		"no such family":  {mgmt("ipv4-subnet: 10.0.0.0/24", "mgmt-ipv6: \"fd00::1\""), `node "a": mgmt-ipv6: fd00::1 is in no subnet of the management network`},
		"mgmt field":      {"name: l\nmgmt: {ipv4-subnt: 10.0.0.0/8}\ntopology: {nodes: {a: {kind: linux}}}\n", `unknown field "ipv4-subnt" (did you mean "ipv4-subnet"?)`},
		"same address":    {"name: l\ntopology: {nodes: {a: {kind: linux, mgmt-ipv4: 10.0.0.1}, b: {kind: linux, mgmt-ipv4: 10.0.0.1}}}\n", `node "b": mgmt-ipv4 10.0.0.1 is node "a"'s already`},
		"outside subnet":  {"name: l\nmgmt: {ipv4-subnet: 10.1.0.0/24}\ntopology: {nodes: {a: {kind: linux, mgmt-ipv4: 10.0.0.1}}}\n", "10.0.0.1 is not within 10.1.0.0/24"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := parseIn(t, tt.file, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("said:\n%v\nwant %q", err, tt.want)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	r := &reader{src: &expanded{}}
	for in, want := range map[string]int64{"1": 1, "64m": 64_000_000, "1Gb": 1_000_000_000, "1 GiB": 1 << 30, "1.5KiB": 1536, "2kib": 2048, "7B": 7, "1T": 1e12} {
		if got, _ := size(r, &value{form: formScalar, text: in}, "x").(int64); got != want {
			t.Errorf("%q is %d bytes, want %d", in, got, want)
		}
	}
}

// A construct without effect is said once, however many nodes have it.
func TestWarningsAreGivenOnce(t *testing.T) {
	_, warnings, err := parseIn(t, "name: l\ntopology:\n  nodes:\n    a: {kind: linux, license: x}\n    b: {kind: linux, license: x}\n    c: {kind: linux, license: x, position: p}\n", nil)
	if err != nil || len(warnings) != 1 || warnings[0].Line != 4 || warnings[0].Hint != "3 times in this file" {
		t.Errorf("%v, %v", warnings, err)
	}
}
