package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"ampoule/format"
	"ampoule/internal/keys"
	"ampoule/trust"
)

type keysPlanCmd struct {
	secretFlags
	Life  int      `default:"366" placeholder:"DAYS" help:"Longest validity of the certificates that are issued (default: 366)."`
	Ahead int      `default:"1" placeholder:"DAYS" help:"How long a signer is on the lists before it signs (default: 1)."`
	Lead  int      `default:"30" placeholder:"DAYS" help:"How long it takes to have a certificate made and accepted (default: 30)."`
	At    string   `placeholder:"T" help:"As of this time (RFC 3339) instead of now."`
	JSON  bool     `name:"json" help:"One JSON object a line."`
	Paths []string `arg:"" name:"path" help:"Key files, certificates in PEM, and folders of them."`
}

// plannedTask is one line of the plan as scripts read it.
type plannedTask struct {
	At        string       `json:"at"`
	Urgency   keys.Urgency `json:"urgency"`
	Task      keys.Task    `json:"task"`
	Role      keys.Role    `json:"role"`
	Name      string       `json:"name"`
	KID       string       `json:"kid"`
	Successor string       `json:"successor,omitempty"`
}

// Run exits with 1 where something is overdue, and with 2 where something is within
// a month.
func (c *keysPlanCmd) Run(t terminal) error {
	if c.Life < 1 || c.Life > 36600 || c.Ahead < 0 || c.Ahead > 366 || c.Lead < 0 || c.Lead > 366 {
		return usageError("--life from 1 to 36600 days, --ahead and --lead from 0 to 366")
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	clock, err := parseClock(c.At)
	if err != nil {
		return err
	}
	now := clock()
	all, err := plannedOf(c.Paths, lock)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return usageError("there is no certificate in %s", strings.Join(c.Paths, ", "))
	}
	const day = 24 * time.Hour
	due := keys.Plan(all, keys.Terms{Life: time.Duration(c.Life) * day, Ahead: time.Duration(c.Ahead) * day, Lead: time.Duration(c.Lead) * day}, now)
	code := exitOK
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(w, "BY\tURGENCY\tTASK\tROLE\tKEY\tFILE\tSUCCESSOR")
	}
	for _, d := range due {
		switch d.Urgency {
		case keys.Overdue:
			code = exitNotValid
		case keys.Week, keys.Month:
			if code == exitOK {
				code = exitUndecided
			}
		}
		line := plannedTask{d.At.Format(time.DateOnly), d.Urgency, d.Task, d.Role, d.Name, d.KID, d.Successor}
		if c.JSON {
			writeJSON(t.out, line)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", line.At, line.Urgency, line.Task, line.Role, line.KID, format.Visible(line.Name), format.Visible(line.Successor))
	}
	if err := w.Flush(); err != nil || code == exitOK {
		return err
	}
	return exitError{code: code}
}

// plannedOf reads the certificates of files and folders, each once.
func plannedOf(paths []string, lock keys.Lock) (all []keys.Planned, err error) {
	seen := make(map[string]bool)
	add := func(name string, chain []*x509.Certificate) {
		if len(chain) == 0 || trust.SignsSeals(chain[0]) || seen[string(chain[0].Raw)] {
			return // a seal carries its certificate, and is planned with the state's passports
		}
		seen[string(chain[0].Raw)] = true
		p := keys.Planned{Name: name, Role: keys.RoleOf(chain[0]), Certificate: chain[0]}
		if len(chain) > 1 {
			p.Issuer = chain[1]
		}
		all = append(all, p)
	}
	read := func(path, name string) error {
		switch filepath.Ext(path) {
		case ".key":
			k, err := keys.Load(path, lock)
			if errors.Is(err, keys.ErrDamaged) {
				if _, root := keys.LoadBundleRoot(path, lock); root == nil {
					return nil // which has no certificate: keys show tells how long it counts
				}
			}
			if err != nil {
				return exitError{exitUsage, err}
			}
			add(name, k.Chain)
		case ".pem":
			data, err := readInput(path, nil)
			if err != nil {
				return exitError{exitUsage, err}
			}
			for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
				if block.Type != "CERTIFICATE" {
					continue
				}
				certificate, err := x509.ParseCertificate(block.Bytes)
				if err != nil {
					return usageError("%s: %w", path, err)
				}
				add(name, []*x509.Certificate{certificate})
			}
		}
		return nil
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, exitError{exitUsage, err}
		}
		if !info.IsDir() {
			if err := read(path, filepath.Base(path)); err != nil {
				return nil, err
			}
			continue
		}
		err = fs.WalkDir(os.DirFS(path), ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return read(filepath.Join(path, filepath.FromSlash(p)), p)
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
