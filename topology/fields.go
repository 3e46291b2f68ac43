package topology

// How far a construct of containerlab's format is served.
const (
	// served is done, by the providers and networks that can.
	served = "served"
	// drawn is for those who look at the lab, and changes nothing in it.
	drawn = "ignored"
	// later is accepted with a warning and has no effect.
	later = "not yet"
)

// construct is one thing the format has. The note says what it does here, or
// what is missing. These tables are the one place that knows: the reader, the
// warnings and the table in docs/containerlab.md all come from them.
type construct struct {
	name   string
	status string
	note   string
}

var topConstructs = []construct{
	{"name", served, "with `__gitBranch__` and `__gitHash__`"},
	{"prefix", served, "of container names; `\"\"` for none, `__lab-name` for the lab's name alone"},
	{"mgmt", served, "the management network of containers"},
	{"settings", later, "no certificate authority is kept"},
	{"debug", drawn, "containerlab's own logging"},
	{"topology", served, ""},
}

var sectionConstructs = []construct{
	{"defaults", served, ""},
	{"kinds", served, ""},
	{"groups", served, ""},
	{"nodes", served, ""},
	{"links", served, ""},
}

var mgmtConstructs = []construct{
	{"network", served, "the container engine's name of the network; `clab` by default"},
	{"bridge", served, "name of the bridge on the machine"},
	{"ipv4-subnet", served, "`auto` leaves it to the container engine"},
	{"ipv4-gw", served, ""},
	{"ipv4-range", served, ""},
	{"ipv6-subnet", served, "`auto` leaves it to the container engine"},
	{"ipv6-gw", served, ""},
	{"ipv6-range", served, ""},
	{"mtu", served, ""},
	{"external-access", served, ""},
	{"skip-when-unused", served, "no network where no node would be in it"},
	{"driver-opts", served, "handed to the container engine"},
	{"ipv4_subnet", served, "the old spelling of `ipv4-subnet`"},
	{"ipv6_subnet", served, "the old spelling of `ipv6-subnet`"},
}

// nodeConstructs are the fields of a node, and of defaults, kinds and groups.
var nodeConstructs = []construct{
	{"kind", served, "letters in either case"},
	{"type", served, "handed to the kind"},
	{"group", served, ""},
	{"image", served, "containers"},
	{"image-pull-policy", served, "`IfNotPresent`, `Always`, `Never`; containers"},
	{"provider", served, "Archetype's own: which provider runs the node"},
	{"runtime", served, "`docker`, `podman` or `libvirt`, the same as `provider`"},
	{"entrypoint", served, ""},
	{"cmd", served, ""},
	{"user", served, ""},
	{"hostname", served, "containers; the node's name by default"},
	{"env", served, "merged over all levels; magic variables are replaced; `__IMPORT_ENVS: true` brings in those of whoever deploys, so a node is made anew when one of them has changed"},
	{"env-files", served, "read when the file is read; `env` wins over them"},
	{"exec", served, "all levels, each command once; run when the node is ready"},
	{"binds", served, "merged by their path in the node; what they take of the machine must be there; a lone path is a volume"},
	{"volumes", served, "merged by their path in the node; containers"},
	{"labels", served, "merged over all levels"},
	{"sysctls", served, "merged over all levels"},
	{"startup-config", served, "a path, an address of the web (`http`, `https`) or the text itself"},
	{"enforce-startup-config", served, ""},
	{"suppress-startup-config", served, ""},
	{"license", served, "a path or an address of the web, for kinds whose vendor file says where it goes; the text itself: an error"},
	{"mtu", served, "Archetype's own: of the node's interfaces, in bytes"},
	{"ports", served, "the nearest level's list alone; containers"},
	{"cap-add", served, "containers"},
	{"devices", served, "containers"},
	{"privileged", served, "containers"},
	{"shm-size", served, "containers"},
	{"memory", served, "containers"},
	{"cpu", served, "containers"},
	{"cpu-set", served, "containers"},
	{"tmpfs", served, "containers"},
	{"security-opts", served, "containers"},
	{"security-opt", served, "the same as `security-opts`"},
	{"ulimits", served, "Archetype's own: `name=soft:hard`; containers"},
	{"cgroupns-mode", served, "containers"},
	{"cgroup-parent", served, "containers"},
	{"pid-mode", served, "containers"},
	{"network-mode", served, "containers; on a `bridge` node `host` means the machine's own bridge"},
	{"mgmt-ipv4", served, "of a node alone; containers"},
	{"mgmt-ipv6", served, "of a node alone; containers"},
	{"aliases", served, "of a node alone; containers"},
	{"dns", served, "containers"},
	{"healthcheck", served, "containers; times in seconds"},
	{"restart-policy", served, "containers"},
	{"auto-remove", served, "containers"},
	{"startup-delay", served, "before the node is made"},
	{"stages", served, "`wait-for` and `exec`, in the node and on the machine"},
	{"position", drawn, "where a drawing puts the node"},
	{"certificate", later, "no certificate is made"},
	{"components", later, "SR-SIM's cards are not made: the node is one container"},
	{"credentials", later, "consoles do not log in by themselves"},
	{"username", later, "the old spelling of `credentials`"},
	{"password", later, "the old spelling of `credentials`"},
	{"config", later, "containerlab's configuration engine is not part of this program"},
	{"extras", later, "what is special to one kind goes into its vendor file"},
	{"link-apply-mode", later, "links change while nodes run"},
	{"kernel", later, "of containerlab's former virtual machines"},
	{"sandbox", later, "of containerlab's former virtual machines"},
	{"publish", later, "of containerlab's former tunnels"},
}

var linkConstructs = []construct{
	{"type", served, ""},
	{"endpoints", served, ""},
	{"endpoint", served, "of the types with one end in the lab"},
	{"mtu", served, ""},
	{"ipv4", served, "one for each end"},
	{"ipv6", served, "one for each end"},
	{"labels", served, ""},
	{"impair", served, "Archetype's own: `delay`, `jitter`, `loss`, `corruption`, `rate`, both ways"},
	{"vars", drawn, "for containerlab's configuration engine"},
	{"host-interface", served, ""},
	{"mode", served, "of macvlan"},
	{"remote", served, "of vxlan"},
	{"vni", served, "of vxlan"},
	{"dst-port", served, "of vxlan"},
	{"src-port", served, "of vxlan"},
	{"udp-port", served, "the old spelling of `dst-port`"},
	{"parent-interface", served, "of vxlan"},
	{"deployment-state", drawn, "containerlab's own"},
}

var endpointConstructs = []construct{
	{"node", served, ""},
	{"interface", served, "the kernel's name, or the device's own"},
	{"mac", served, ""},
	{"ipv4", served, ""},
	{"ipv6", served, ""},
	{"impair", served, "Archetype's own: for the frames that leave this end"},
	{"vars", drawn, "for containerlab's configuration engine"},
	{"labels", drawn, ""},
}

var impairConstructs = []construct{{"delay", served, ""}, {"jitter", served, ""}, {"loss", served, "per cent"},
	{"corruption", served, "per cent"}, {"rate", served, "such as `10mbit`"}}

var dnsConstructs = []construct{{"servers", served, ""}, {"search", served, ""}, {"options", served, ""}}

var healthConstructs = []construct{
	{"test", served, "a list that begins with `CMD`, `CMD-SHELL` or `NONE`, or a line for a shell"},
	{"interval", served, ""}, {"timeout", served, ""}, {"start-period", served, ""}, {"retries", served, ""},
}

var stageConstructs = []construct{{"wait-for", served, ""}, {"exec", served, ""}}

var waitConstructs = []construct{{"node", served, ""}, {"stage", served, ""}}

var stageExecConstructs = []construct{{"command", served, ""}, {"target", served, ""}, {"phase", served, ""}}

// templateFunctions are the names of what a template can call beside Go's
// own, with a word on each. The table in the docs comes from it.
var templateFunctions = []construct{
	{"add", served, "`add 1 2`"}, {"subtract", served, "`subtract 3 1`"}, {"mul", served, "`mul 2 3`"},
	{"div", served, "`div 3 2` is 1.5"}, {"idiv", served, "`idiv 7 3` is 2"}, {"rem", served, "`rem 7 3` is 1"},
	{"seq", served, "`seq 3`, `seq 2 5`, `seq 1 9 2`"}, {"slice", served, "`slice 1 \"a\"` is a list of its arguments"},
	{"ToJSON", served, ""}, {"ToJSONPretty", served, "`ToJSONPretty value prefix indent`"},
	{"strings.Split", served, "`strings.Split \",\" \"a,b\"`"}, {"strings.ReplaceAll", served, "`strings.ReplaceAll \"a\" \"b\" text`"},
	{"conv.Join", served, "`conv.Join list \",\"`"}, {"conv.ToInt", served, ""},
	{"net.CIDRHost", served, "`net.CIDRHost 2 \"10.0.0.0/24\"` is 10.0.0.2"},
}
