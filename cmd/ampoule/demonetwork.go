package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ampoule/internal/keys"
)

// The trust network of the demonstration: a gateway that the first country's service
// runs, by which the countries learn each other's keys.

// demoDomains are those in which the countries take part.
var demoDomains = []string{"DCC", "DDCC", "ICVP", "PH4H"}

// demoNetwork is where the gateway is, and whom to believe there.
type demoNetwork struct {
	Gateway string `json:"gateway"` // address
	CA      string `json:"ca"`      // file: authority of the gateway's own certificate
	Anchor  string `json:"anchor"`  // file
}

const demoGateway = "demonstration"

var (
	silent = terminal{out: io.Discard, err: io.Discard}
	plain  = secretFlags{Unencrypted: true}
)

// unusedAddresses are some of this machine at which nobody listens, all different.
func unusedAddresses(n int) (list []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after the last is found
		list = append(list, l.Addr().String())
	}
	return list, nil
}

// network makes the keys of the gateway, and returns the settings of a server that runs
// it.
func (d *demo) network(dir string) (set map[string]string, n demoNetwork, err error) {
	in := func(name string) string { return filepath.Join(dir, "gateway", name) }
	if err := os.MkdirAll(in(""), 0o700); err != nil {
		return nil, n, err
	}
	for name, kind := range map[string]string{"anchor": "anchor", "anna": "operator", "bela": "operator"} {
		c := gatewayInitCmd{secretFlags: plain, Kind: kind, Country: "XX", Organization: "Demonstration network", Out: in(name + ".key")}
		if err := c.Run(silent); err != nil {
			return nil, n, err
		}
	}
	now := time.Now()
	authority, err := keys.NewDeviceCA(now, rand.Reader)
	if err != nil {
		return nil, n, err
	}
	door, err := keys.NewDoor(authority, []string{"127.0.0.1"}, now, rand.Reader)
	if err != nil {
		return nil, n, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(door.Signer)
	if err != nil {
		return nil, n, err
	}
	for name, data := range map[string][]byte{
		"ca.pem": certificatePEM(authority), "tls.pem": certificatePEM(door), "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		if err := os.WriteFile(in(name), data, 0o600); err != nil {
			return nil, n, err
		}
	}
	free, err := unusedAddresses(1 + len(demoMembers))
	if err != nil {
		return nil, n, err
	}
	address := free[0]
	d.addresses = free[1:]
	return map[string]string{
		"gateway.name": demoGateway, "gateway.listen": address, "gateway.certificate": in("tls.pem"), "gateway.key": in("tls.key"),
		"gateway.anchors": in("anchor.key.pem"), "gateway.operators": "anna=" + in("anna.key.pem") + ",bela=" + in("bela.key.pem"),
	}, demoNetwork{Gateway: "https://" + address, CA: in("ca.pem"), Anchor: in("anchor.key.pem")}, nil
}

// onboard takes a country into the network: what it hands over is proposed, signed by
// the anchor, approved by two operators, and applied.
func (s *service) onboard(ctx context.Context, dir, participant, from string) error {
	in := func(name string) string { return filepath.Join(dir, "gateway", name) }
	proposal, signed := in(participant+".proposal"), in(participant+".signed")
	steps := []interface{ Run(terminal) error }{
		&gatewayProposeCmd{Participant: participant, Folder: from, Gateway: demoGateway, Reason: "demonstration", Out: proposal},
		&gatewaySignCmd{secretFlags: plain, Proposal: proposal, Key: in("anchor.key"), Out: signed},
		&gatewayApproveCmd{secretFlags: plain, Proposal: signed, Key: in("anna.key"), Operator: "anna", Out: in(participant + ".anna")},
		&gatewayApproveCmd{secretFlags: plain, Proposal: signed, Key: in("bela.key"), Operator: "bela", Out: in(participant + ".bela")},
	}
	var said strings.Builder // findings
	for _, step := range steps {
		if err := step.Run(terminal{out: &said, err: io.Discard}); err != nil {
			return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
		}
	}
	data, _, err := readProposal(signed)
	if err != nil {
		return err
	}
	var approvals [][]byte
	for _, who := range []string{"anna", "bela"} {
		a, err := os.ReadFile(in(participant + "." + who))
		if err != nil {
			return err
		}
		approvals = append(approvals, a)
	}
	o, err := newOperator(s.settings, s.store.Gateway())
	if err != nil {
		return err
	}
	_, err = o.Apply(ctx, demoGateway, data, approvals)
	return err
}

// connect is how the country whose keys are in a folder speaks with the gateway.
func (n *demoNetwork) connect(dir string) connectFlags {
	in := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	return connectFlags{
		secretFlags: plain, Gateway: n.Gateway, CA: []string{n.CA}, Private: true,
		TLS: in("private", "tls.key"), UP: in("private", "up.key"), SCA: []string{in("onboarding", "DCC", "SCA", "SCA.pem")},
		// A signer that is taken back is more of a small list than of a large one.
		gatewayFlags: gatewayFlags{State: in("network"), Anchor: []string{n.Anchor}, MaxShrink: 0.5, Frozen: 30 * 24 * time.Hour, Stale: 48 * time.Hour},
	}
}

// demoSigners are those that a country publishes, by their domains: a certificate is in
// one.
var demoSigners = map[string][]string{"DICVP": {"dsc-vaccination", "dsc-any"}, "DCC": {"dsc-test", "dsc-recovery"}}

// upload publishes the signers of a country.
func (n *demoNetwork) upload(dir string) error {
	for domain, signers := range demoSigners {
		c := participantUploadCmd{connectFlags: n.connect(dir), Domain: domain}
		for _, name := range signers {
			c.Files = append(c.Files, filepath.Join(dir, "DSC", name+".pem"))
		}
		if err := c.Run(silent); err != nil {
			return err
		}
	}
	return nil
}

// withdraw takes a signer back.
func (n *demoNetwork) withdraw(dir, signer string) error {
	c := participantRevokeCmd{connectFlags: n.connect(dir), What: []string{filepath.Join(dir, "DSC", signer+".pem")}}
	return c.Run(silent)
}

// pull takes the lists, and returns the file of what stands of them.
func (n *demoNetwork) pull(dir string) (string, error) {
	var said strings.Builder
	c := participantPullCmd{connectFlags: n.connect(dir)}
	err := c.Run(terminal{out: &said, err: io.Discard})
	var exit exitError
	if errors.As(err, &exit) && exit.code == exitUndecided {
		err = nil // it was taken, and something about it is odd: a signer went
	}
	if err != nil {
		return "", errors.Join(err, errors.New(strings.TrimSpace(said.String())))
	}
	return filepath.Join(dir, "network", "gateway.json"), nil
}
