package main

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ampoule/format/didlist"
	"ampoule/format/tng"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/trust"
)

type trustPublishCmd struct {
	secretFlags
	Out          string   `arg:"" name:"folder" help:"What to replace: a link to the folder with v2/trustlist and v2/trustlist-ref."`
	From         []string `sep:"none" placeholder:"F" help:"What a participant took from a gateway."`
	Anchor       []string `sep:"none" placeholder:"F" help:"Trust anchor of that gateway."`
	Certificates string   `placeholder:"DIR" help:"Folder of one's own certificates: <DOMAIN>/<CCC>/{SCA,DSC}/<name>.pem."`
	Key          string   `required:"" placeholder:"F" help:"Key file that signs the lists (ES256)."`
	DID          string   `name:"did" required:"" placeholder:"D" help:"Where the lists will stand: did:web:trust.example for https://trust.example/v2/…"`
	KeyDID       string   `name:"key-did" required:"" placeholder:"D" help:"DID of the key that signs."`
	Context      string   `enum:"production,uat,dev" default:"production" help:"Environment that the lists belong to: ${enum}."`
	Form         string   `enum:"der,rs" default:"der" help:"Form of the signatures: der as the WHO's network writes them, rs as RFC 7518 says."`
	Expired      bool     `help:"Keep what has expired in the lists."`
	At           string   `placeholder:"T" help:"Sign as of this time (RFC 3339) instead of now."`
}

// Run writes the whole tree or nothing.
func (c *trustPublishCmd) Run(t terminal) error {
	clock, err := parseClock(c.At)
	if err != nil {
		return err
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	key, err := keys.Load(c.Key, lock)
	if err != nil {
		return exitError{exitUsage, err}
	}
	listed, drops, err := c.gather()
	if err != nil {
		return err
	}
	p := trust.Publication{
		DID: c.DID, KeyDID: c.KeyDID, Signer: key.Signer, Random: rand.Reader, Now: clock().UTC().Truncate(time.Second), Expired: c.Expired,
		Context: map[string]didlist.Context{"production": didlist.ContextProduction, "uat": didlist.ContextUAT, "dev": didlist.ContextDevelop}[c.Context],
		Form:    map[string]didlist.SignatureForm{"der": didlist.FormDER, "rs": didlist.FormRS}[c.Form],
	}
	files, expired, err := p.Tree(listed)
	if err != nil {
		return exitError{exitUsage, err}
	}
	for _, d := range append(drops, expired...) {
		fmt.Fprintf(t.err, "left out: %s %s: %s %s\n", d.Participant, d.Entry, d.Reason, d.Detail)
	}
	if err := keep.ReplaceTree(c.Out, files); err != nil {
		return exitError{exitUsage, err}
	}
	n := countTypes(listed)
	fmt.Fprintf(t.out, "%s: %d documents of %d signers and %d authorities; %d entries left out\n", c.Out, len(files), n[tng.DSC], n[tng.CSCA], len(drops)+len(expired))
	return nil
}

// gather collects what is to be published. A source that gives nothing is an
// error: an empty tree would take everybody away.
func (c *trustPublishCmd) gather() (listed []trust.Listed, drops []trust.Drop, err error) {
	anchors, err := readPins("--anchor", c.Anchor)
	if err != nil {
		return nil, nil, err
	}
	for _, path := range c.From {
		data, err := readBounded(path, nil, 2*tng.MaxList)
		if err != nil {
			return nil, nil, usageError("--from: %w", err)
		}
		d, err := tng.ParseDownload(data)
		if err != nil {
			return nil, nil, usageError("--from %s: %w", path, err)
		}
		l, gone := trust.CheckGateway(path, d, anchors)
		listed, drops = append(listed, l...), append(drops, gone...)
	}
	if c.Certificates != "" {
		var files []trust.Material
		err := fs.WalkDir(os.DirFS(c.Certificates), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := readBounded(filepath.Join(c.Certificates, path), nil, 1<<20)
			files = append(files, trust.Material{Path: path, Data: data})
			return err
		})
		if err != nil {
			return nil, nil, usageError("--certificates: %w", err)
		}
		l, gone := trust.ListCertificates(c.Certificates, files)
		listed, drops = append(listed, l...), append(drops, gone...)
	}
	if countTypes(listed)[tng.DSC]+countTypes(listed)[tng.CSCA] == 0 {
		for _, d := range drops {
			err = fmt.Errorf("%s: %s %s", d.Entry, d.Reason, d.Detail)
			break
		}
		if err != nil {
			return nil, nil, usageError("there is nothing to publish; the first entry is left out: %w", err)
		}
		return nil, nil, usageError("there is nothing to publish: give --from with --anchor, or --certificates")
	}
	return listed, drops, nil
}
