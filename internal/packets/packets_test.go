package packets

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"archetype/internal/plain"
)

func frame(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, parts...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

var (
	macA, macB = net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	ipA, ipB   = net.IPv4(10, 0, 0, 1).To4(), net.IPv4(10, 0, 0, 2).To4()
)

func ether(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: macA, DstMAC: macB, EthernetType: t}
}

func ip(p layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: p, SrcIP: ipA, DstIP: ipB}
}

// What is said of the frames that an engineer looks for.
func TestPacketsAreTold(t *testing.T) {
	keepalive := append(bytes.Repeat([]byte{0xff}, 16), 0, 19, 4)
	for _, c := range []struct {
		data []byte
		want string
	}{
		{frame(t, ether(layers.EthernetTypeARP), &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: layers.ARPRequest, SourceHwAddress: macA, SourceProtAddress: ipA, DstHwAddress: macB, DstProtAddress: ipB}),
			"02:00:00:00:00:01 > 02:00:00:00:00:02  ARP  who has 10.0.0.2? tell 10.0.0.1"},
		{frame(t, ether(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv4}, ip(layers.IPProtocolICMPv4),
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: 3, Seq: 4}),
			"10.0.0.1 > 10.0.0.2  ICMP  VLAN 7 EchoRequest id 3 seq 4"},
		{frame(t, ether(layers.EthernetTypeIPv4), ip(layers.IPProtocolTCP), &layers.TCP{SrcPort: 40000, DstPort: 179, PSH: true, ACK: true, DataOffset: 5}, gopacket.Payload(keepalive)),
			"10.0.0.1 > 10.0.0.2  BGP  KEEPALIVE 40000 > 179 [PSH,ACK]"},
		{[]byte{1, 2, 3}, "cannot be decoded"},
	} {
		p := Of(gopacket.CaptureInfo{Timestamp: time.Now(), Length: len(c.data), CaptureLength: len(c.data)}, c.data)
		if got := p.String(); !strings.Contains(got, c.want) {
			t.Errorf("%q is no %q", got, c.want)
		}
	}
}

// What is written is read again as it was, to the nanosecond.
func TestWrittenAndRead(t *testing.T) {
	data := frame(t, ether(layers.EthernetTypeIPv4), ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 1, DstPort: 2})
	at := time.Unix(1700000000, 123456789)
	var file bytes.Buffer
	w, err := NewWriter(&file)
	if err != nil {
		t.Fatal(err)
	}
	p := Of(gopacket.CaptureInfo{Timestamp: at, Length: 900, CaptureLength: len(data)}, data)
	if err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Next()
	if err != nil || !got.Time.Equal(at) || got.Length != 900 || got.String() != p.String() {
		t.Errorf("%v, %v is not %v", got, err, p)
	}
}

// seeds are frames of every sort that is told, with nothing much in them.
func seeds() (out [][]byte) {
	to := append(append([]byte{}, macB...), macA...)
	put := func(parts ...[]byte) {
		out = append(out, append(bytes.Join(append([][]byte{to}, parts...), nil), make([]byte, 64)...))
	}
	v4 := func(protocol byte) []byte {
		return []byte{8, 0, 0x45, 0, 0, 84, 0, 1, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	}
	v6 := func(next byte) []byte {
		return append([]byte{0x86, 0xdd, 0x60, 0, 0, 0, 0, 64, next, 64}, make([]byte, 32)...)
	}
	for _, protocol := range []byte{1, 2, 4, 6, 17, 41, 47, 50, 58, 89, 103, 112, 132} {
		put(v4(protocol))
		put(v6(protocol), []byte{135, 0})
	}
	for _, port := range []byte{53, 67, 68, 123, 161, 179} {
		put(v4(6), []byte{0, port, 0, port, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18}, make([]byte, 6), bgpMarker, []byte{0, 19, 4})
		put(v4(17), []byte{0, port, 0, port, 0, 64, 0, 0, 2, 1, 6, 0})
	}
	put(v4(17), []byte{0x30, 0, 0x12, 0xb5, 0, 64, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0}, to, v4(1)) // VXLAN
	for _, kind := range []uint16{0x0806, 0x8100, 0x88a8, 0x8847, 0x8863, 0x8864, 0x888e, 0x88cc, 0x88e5, 38} {
		put([]byte{byte(kind >> 8), byte(kind)}, []byte{0x42, 0x42, 3, 0, 0})
	}
	return out
}

// Whatever a device sends, what is said of it has one line and only words.
func FuzzPackets(f *testing.F) {
	f.Add(frame(f, ether(layers.EthernetTypeIPv4), ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 53, DstPort: 53}, gopacket.Payload("\x1b]0;x\a")))
	f.Add(append(append([]byte{}, macB...), append(macA, 0x88, 0xcc, 2, 7, 4, 2, 0, 0, 0, 0, 1, 10, 5, '\x1b', '[', '2', 'J', '\n', 0, 0)...))
	for _, data := range seeds() {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := Of(gopacket.CaptureInfo{Length: len(data), CaptureLength: len(data)}, data)
		for _, line := range append(p.Layers(), p.Info, p.Protocol, p.Source, p.Destination) {
			if strings.Contains(line, "\n") || plain.Text(line) != line {
				t.Errorf("%q acts on a terminal", line)
			}
		}
	})
}

// Frames that were lost are told where they were, and counted.
func TestLostAreTold(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Lose(37); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Next()
	if err != nil || p.Lost != 37 || !strings.Contains(p.String(), "37 lost") {
		t.Errorf("%v, %v", p, err)
	}
}

// Whatever a stream says of itself, what is read of it is bounded, can be said,
// and is the same when it is written and read again.
func FuzzFile(f *testing.F) {
	var file bytes.Buffer
	w, err := NewWriter(&file)
	if err != nil {
		f.Fatal(err)
	}
	data := frame(f, ether(layers.EthernetTypeIPv4), ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 1, DstPort: 2})
	if err := errors.Join(w.Frame(gopacket.CaptureInfo{Timestamp: time.Unix(1, 2), Length: 900, CaptureLength: len(data)}, data), w.Lose(3)); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add(append([]byte("\xa1\xb2\xc3\xd4\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x01"), make([]byte, 40)...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r, err := NewReader(bytes.NewReader(stream))
		if err != nil {
			return
		}
		for {
			info, data, err := r.Frame()
			if err != nil {
				return
			}
			if len(data) > 1<<20 || len(data) != info.CaptureLength {
				t.Fatalf("%d bytes of a frame that is said to have %d", len(data), info.CaptureLength)
			}
			if line := Of(info, data).String(); strings.Contains(line, "\n") || plain.Text(line) != line {
				t.Errorf("%q acts on a terminal", line)
			}
			var again bytes.Buffer
			w, err := NewWriter(&again)
			if err == nil {
				err = w.Frame(info, data)
			}
			if err != nil {
				t.Fatalf("%+v cannot be written: %v", info, err)
			}
			r, err := NewReader(&again)
			if err != nil {
				t.Fatal(err)
			}
			if back, same, err := r.Frame(); err != nil || !bytes.Equal(same, data) || back.Length != info.Length {
				t.Errorf("%+v is read again as %+v: %v", info, back, err)
			}
		}
	})
}
