package replay_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"archetype/backends"
	"archetype/engine/api"
	"archetype/internal/replay"
	"archetype/vendors"
)

const config = "the configuration\n"

// boots boots a device of a kind by its dialogue, and reads its configuration
// out of it where the kind says how.
func boots(t *testing.T, kinds *vendors.Registry, kind, file string) {
	d, err := replay.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	k, ok := kinds.Kind(kind)
	if !ok || k.VM == nil {
		t.Fatalf("there is no kind %q that is a virtual machine", kind)
	}
	cfg := filepath.Join(t.TempDir(), "cfg")
	if err := os.WriteFile(cfg, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	top := fmt.Sprintf("name: r\ntopology: {nodes: {r1: {kind: %s, startup-config: %s}}}\n", kind, cfg)
	b := replay.NewLab(t, kinds, top, map[string]*replay.Dialogue{"r1": d})
	n := b.Ready("r1")
	p := b.Percents("r1")
	if !slices.IsSorted(p) || len(p) == 0 {
		t.Errorf("per cent %v", p)
	}
	if n.ProgressText == "" || n.ProgressLine == "" {
		t.Errorf("nothing is said of what earned the per cent: %+v", n)
	}
	ref := backends.NodeRef{Lab: "r", Node: "r1"}
	if k.VM.ConfigExtract.Method != "" {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := b.Engine.Config(ctx, api.ConfigRequest{Lab: "r", Node: "r1"})
		if err != nil || out.Text != config {
			t.Errorf("its configuration: %+v %v, %v", out, err, b.Provider.Wrong(ref))
		}
		played(b, ref)
	} else if err := b.Provider.Wrong(ref); err != nil {
		t.Error(err)
	}
}

// TestKinds: every kind that runs as a virtual machine has a dialogue, and
// boots by it.
func TestKinds(t *testing.T) {
	t.Parallel()
	all := kinds(t, "")
	for _, k := range all.Kinds() {
		if k.VM == nil {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			boots(t, all, k.Name, filepath.Join("testdata", k.Name+".talk"))
		})
	}
}

// TestOwn replays a dialogue that is not in the repository:
//
//	go test ./internal/replay -run TestOwn -kind NAME -dialogue /path/FILE [-vendors /path/FOLDER]
func TestOwn(t *testing.T) {
	if *dialogue == "" {
		t.Skip("runs only in a run by hand, with -dialogue")
	}
	all, diags, err := vendors.Load(*folder)
	if err != nil || len(diags) > 0 {
		t.Fatal(err, diags)
	}
	boots(t, all, *kindName, *dialogue)
}

// TestImageNames: files are recognised by the names that their makers give.
func TestImageNames(t *testing.T) {
	all := kinds(t, "")
	for file, want := range map[string]string{
		"debian-12-genericcloud-amd64.qcow2":               "generic_vm 12",
		"noble-server-cloudimg-amd64.img":                  "generic_vm noble",
		"FreeBSD-14.1-RELEASE-amd64-BASIC-CLOUDINIT.qcow2": "freebsd 14.1",
		"openbsd-7.5-2024.qcow2":                           "openbsd 7.5",
		"vyos-1.4.0-cloud-init-10G.qcow2":                  "vyosnetworks_vyos 1.4.0",
		"chr-7.15.3.img":                                   "mikrotik_ros 7.15.3",
		"vios-adventerprisek9-m.SPA.159-3.M6.qcow2":        "cisco_vios 159-3.M6",
		"vios-adventerprisek9-m.vmdk.SPA.156-2.T":          "cisco_vios 156-2.T",
		"csr1000v-universalk9.17.03.04a-serial.qcow2":      "cisco_csr1000v 17.03.04a",
		"xrv9k-fullk9-x-7.3.2.qcow2":                       "cisco_xrv9k 7.3.2",
		"nexus9300v64-lite.10.2.3.F.qcow2":                 "cisco_n9kv 10.2.3.F",
		"nxosv-final.9.3.9.qcow2":                          "cisco_n9kv 9.3.9",
		"junos-media-vsrx-x86-64-vmdisk-20.4R1.12.qcow2":   "juniper_vsrx 20.4R1.12",
		"junos-vsrx3-x86-64-23.2R1.13.qcow2":               "juniper_vsrx 23.2R1.13",
		"media-vsrx-vmdisk-18.4R1.8.qcow2":                 "juniper_vsrx 18.4R1.8",
		"vJunos-router-23.2R1.15.qcow2":                    "juniper_vjunosrouter 23.2R1.15",
		"vJunos-switch-23.2R1.14.qcow2":                    "juniper_vjunosswitch 23.2R1.14",
		"vEOS-lab-4.28.3M.vmdk":                            "arista_veos 4.28.3M",
		"vEOS64-lab-4.30.1F.qcow2":                         "arista_veos 4.30.1F",
		"junos-media-vsrx-vmdisk-18.1R1.9.qcow2":           "juniper_vsrx 18.1R1.9",
		"vyos-1.5.1-kvm-amd64.qcow2":                       "vyosnetworks_vyos 1.5.1",
		"vyos-1.2.9-S1-10G-qemu.qcow2":                     "vyosnetworks_vyos 1.2.9-S1",
		"csr1000v-ucmk9.16.12.5-serial.qcow2":              "cisco_csr1000v 16.12.5",
		"vios-adventerprisek9-m.spa.159-3.m10.qcow2":       "cisco_vios 159-3.m10",
		"nexus9500v64.10.5.5.M.qcow2":                      "cisco_n9kv 10.5.5.M",
		"openbsd-min_v7.7_2025-04-28-11-38.qcow2":          "openbsd 7.7",
		"jammy-ubuntu-cloud.qcow2":                         "generic_vm jammy",
		"sros-vsr-21.7.R1.qcow2":                           "nokia_sros 21.7.R1",
		"sros-vm-23.10.R1.qcow2":                           "nokia_sros 23.10.R1",
		"holiday.qcow2":                                    "",
	} {
		got := ""
		if k, version := all.Recognise(file); k != nil {
			got = strings.TrimSpace(k.Name + " " + version)
		}
		if got != want && want != "" || want == "" && strings.HasPrefix(file, "holiday") && got != "" {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
}
