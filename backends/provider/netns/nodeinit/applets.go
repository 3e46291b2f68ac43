package nodeinit

// Applets are the tools that a node brings for machines that lack them. They
// come last in the node's PATH.
func Applets() []string { return []string{"ip", "ping"} }
