// Package packets reads captured frames and says in a line what each is.
package packets

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"archetype/internal/plain"
)

// Packet is a frame and what it is. Its words are plain, whatever is in the
// frame.
type Packet struct {
	Time        time.Time
	Length      int // on the wire, in bytes
	Source      string
	Destination string
	Protocol    string
	Info        string
	Lost        int // so many were not taken, and this stands for them

	captured gopacket.CaptureInfo
	data     []byte
}

// Reader reads a stream in pcap's format.
type Reader struct{ r *pcapgo.Reader }

// NewReader begins to read.
func NewReader(r io.Reader) (*Reader, error) {
	p, err := pcapgo.NewReader(r)
	if err != nil {
		return nil, err
	}
	if t := p.LinkType(); t != layers.LinkTypeEthernet {
		return nil, fmt.Errorf("what was captured is %s, and no Ethernet", t)
	}
	p.SetSnaplen(Most) // whatever it says: so much is taken at a time
	return &Reader{p}, nil
}

// Frame is the next one, as soon as there is one, and not looked into. One
// without bytes stands for as many as its length says that were lost.
func (r *Reader) Frame() (gopacket.CaptureInfo, []byte, error) {
	data, info, err := r.r.ReadPacketData()
	return info, data, err
}

// Next is the next packet, as soon as there is one.
func (r *Reader) Next() (*Packet, error) {
	info, data, err := r.Frame()
	if err != nil {
		return nil, err
	}
	return Of(info, data), nil
}

// Writer writes packets in pcap's format.
type Writer struct{ w *pcapgo.Writer }

// Most is how much of a frame is kept, in bytes: more than any MTU.
const Most = 65535

// NewWriter begins a file.
func NewWriter(w io.Writer) (*Writer, error) {
	p := pcapgo.NewWriterNanos(w)
	return &Writer{p}, p.WriteFileHeader(Most, layers.LinkTypeEthernet)
}

// Write adds a packet.
func (w *Writer) Write(p *Packet) error { return w.Frame(p.captured, p.data) }

// Frame adds a frame.
func (w *Writer) Frame(info gopacket.CaptureInfo, data []byte) error {
	return w.w.WritePacket(info, data)
}

// Lose notes, for who reads with a Reader, that so many frames were lost.
func (w *Writer) Lose(n int) error {
	return w.w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Now(), Length: n}, nil)
}

// Data are its bytes, as far as they were captured.
func (p *Packet) Data() []byte { return p.data }

// String is the packet in one line.
func (p *Packet) String() string {
	if p.Lost > 0 {
		return p.Time.Local().Format("15:04:05.000000") + "  " + p.Info
	}
	return fmt.Sprintf("%s  %s %s %s  %s  %s", p.Time.Local().Format("15:04:05.000000"), p.Source, ">", p.Destination, p.Protocol, p.Info)
}

// mostBytes is how much of a packet is shown byte by byte.
const mostBytes = 2048

// inner are the parts of a layer's text that are shown as bytes below.
var inner = regexp.MustCompile(`(Contents|Payload|BaseLayer)=\[[^]]*\] ?`)

// Layers are all that is in the packet, layer by layer, and its bytes.
func (p *Packet) Layers() []string {
	var out []string
	for _, l := range decode(p.data).Layers() {
		out = append(out, plain.Text(inner.ReplaceAllString(gopacket.LayerString(l), "")))
	}
	dump := strings.TrimRight(hex.Dump(p.data[:min(len(p.data), mostBytes)]), "\n")
	return append(append(out, ""), strings.Split(dump, "\n")...)
}

func decode(data []byte) gopacket.Packet {
	return gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.DecodeOptions{NoCopy: true})
}

// Of says what a frame is.
func Of(info gopacket.CaptureInfo, data []byte) *Packet {
	p := &Packet{Time: info.Timestamp, Length: info.Length, captured: info, data: data}
	if len(data) == 0 {
		p.Length, p.Lost, p.Info = 0, info.Length, fmt.Sprintf("%d lost: more came than could be taken", info.Length)
		return p
	}
	k := decode(data)
	var notes []string
	for _, l := range k.Layers() {
		switch l := l.(type) {
		case *layers.Ethernet:
			p.Source, p.Destination = l.SrcMAC.String(), l.DstMAC.String()
			p.Protocol = l.EthernetType.String()
		case *layers.Dot1Q:
			notes = append(notes, fmt.Sprintf("VLAN %d", l.VLANIdentifier))
			p.Protocol = l.Type.String()
		case *layers.ARP:
			p.Protocol = "ARP"
			notes = append(notes, arp(l))
		case *layers.IPv4:
			p.Source, p.Destination, p.Protocol = l.SrcIP.String(), l.DstIP.String(), l.Protocol.String()
			if l.TTL == 1 && l.Protocol != layers.IPProtocolIGMP && !l.DstIP.IsMulticast() {
				notes = append(notes, "TTL 1")
			}
		case *layers.IPv6:
			p.Source, p.Destination, p.Protocol = l.SrcIP.String(), l.DstIP.String(), l.NextHeader.String()
		case *layers.ICMPv4:
			p.Protocol = "ICMP"
			notes = append(notes, l.TypeCode.String())
			if t := l.TypeCode.Type(); t == layers.ICMPv4TypeEchoRequest || t == layers.ICMPv4TypeEchoReply {
				notes = append(notes, fmt.Sprintf("id %d seq %d", l.Id, l.Seq))
			}
		case *layers.ICMPv6:
			p.Protocol = "ICMPv6"
			notes = append(notes, l.TypeCode.String())
		case *layers.ICMPv6NeighborSolicitation:
			notes = append(notes, "for "+l.TargetAddress.String())
		case *layers.ICMPv6NeighborAdvertisement:
			notes = append(notes, "of "+l.TargetAddress.String())
		case *layers.TCP:
			p.Protocol = "TCP"
			notes = append(notes, fmt.Sprintf("%d > %d %s seq %d ack %d win %d len %d", l.SrcPort, l.DstPort, flags(l), l.Seq, l.Ack, l.Window, len(l.Payload)))
			if l.SrcPort == 179 || l.DstPort == 179 {
				p.Protocol = "BGP"
				if name := bgp(l.Payload); name != "" {
					notes = append([]string{name}, notes...)
				}
			}
		case *layers.UDP:
			p.Protocol = "UDP"
			notes = append(notes, fmt.Sprintf("%d > %d len %d", l.SrcPort, l.DstPort, len(l.Payload)))
		case *layers.DNS:
			p.Protocol = "DNS"
			for _, q := range l.Questions {
				notes = append(notes, q.Type.String()+" "+string(q.Name))
			}
		case *layers.DHCPv4:
			p.Protocol = "DHCP"
			notes = append(notes, l.Operation.String(), "for "+l.ClientHWAddr.String())
		case *layers.OSPFv2:
			p.Protocol = "OSPF"
			notes = append(notes, l.Type.String(), "router "+router(l.RouterID), "area "+router(l.AreaID))
		case *layers.OSPFv3:
			p.Protocol = "OSPFv3"
			notes = append(notes, l.Type.String(), "router "+router(l.RouterID), "area "+router(l.AreaID))
		case *layers.LinkLayerDiscovery:
			p.Protocol = "LLDP"
		case *layers.LinkLayerDiscoveryInfo:
			notes = append(notes, l.SysName, l.PortDescription)
		case *layers.STP:
			p.Protocol = "STP"
			notes = append(notes, fmt.Sprintf("root %s cost %d", l.RouteID.HwAddr, l.Cost))
		case *layers.VXLAN:
			notes = append(notes, fmt.Sprintf("VXLAN %d", l.VNI))
		case *gopacket.DecodeFailure:
			notes = append(notes, "cannot be decoded: "+l.Error().Error())
		}
	}
	p.Info = plain.Text(strings.Join(strings.Fields(strings.Join(notes, " ")), " "))
	p.Protocol = plain.Text(p.Protocol)
	return p
}

func router(id uint32) string {
	return net.IPv4(byte(id>>24), byte(id>>16), byte(id>>8), byte(id)).String()
}

func arp(l *layers.ARP) string {
	source, target := net.IP(l.SourceProtAddress).String(), net.IP(l.DstProtAddress).String()
	if l.Operation == layers.ARPReply {
		return source + " is at " + net.HardwareAddr(l.SourceHwAddress).String()
	}
	return "who has " + target + "? tell " + source
}

func flags(l *layers.TCP) string {
	var out []string
	for _, f := range []struct {
		on   bool
		name string
	}{{l.SYN, "SYN"}, {l.FIN, "FIN"}, {l.RST, "RST"}, {l.PSH, "PSH"}, {l.ACK, "ACK"}, {l.URG, "URG"}} {
		if f.on {
			out = append(out, f.name)
		}
	}
	return "[" + strings.Join(out, ",") + "]"
}

// bgpMarker begins every message of BGP.
var bgpMarker = bytes.Repeat([]byte{0xff}, 16)

// bgp names the first message of a segment that begins with one.
func bgp(b []byte) string {
	if len(b) < 19 || !bytes.Equal(b[:16], bgpMarker) {
		return ""
	}
	names := []string{"", "OPEN", "UPDATE", "NOTIFICATION", "KEEPALIVE", "ROUTE-REFRESH"}
	if int(b[18]) >= len(names) {
		return ""
	}
	return names[b[18]]
}
