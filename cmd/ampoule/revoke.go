package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"ampoule/format"
	"ampoule/internal/control"
	"ampoule/internal/keep"
	"ampoule/party/issuer"
)

type revokeCmd struct {
	configFlags
	Key     string `placeholder:"KID" help:"Records with a current certificate of this key, in hexadecimal."`
	Lot     string `placeholder:"LOT" help:"Records with a dose of this lot, as upper-case letters and digits."`
	Product string `placeholder:"CODE" help:"And of the product, or kind of vaccine, of this code."`
	From    string `placeholder:"T" help:"Records that were issued from then (RFC 3339)."`
	Until   string `placeholder:"T" help:"Records that were issued before then."`
	List    string `placeholder:"F" help:"Records of a list: a line each, with the identifier of the record or of its certificate. Empty lines and those that begin with # are passed over."`
	Reason  string `enum:",wrong-data,not-given,product,fraud,holder,key" default:"" placeholder:"WORD" help:"Why: wrong-data, not-given, product, fraud, holder or key. Without it nothing is done, and it is told who is affected."`
	Agreed  int    `default:"-1" placeholder:"N" help:"How many records there are, as this command says without --reason."`
	Out     string `placeholder:"F" help:"Of a list: where the results go, as CSV; otherwise they are shown."`
}

// Run asks the running server.
func (c *revokeCmd) Run(t terminal) error {
	settings, _, err := c.load()
	if err != nil {
		return err
	}
	w, err := c.which()
	if err != nil {
		return err
	}
	chosen := len(w.KIDs) > 0 || w.Lot != "" || w.Product != "" || !w.From.IsZero() || !w.Until.IsZero()
	if chosen == (c.List != "") {
		return usageError("either --list, or a choice by --key, --lot, --from and --until")
	}
	ctx := context.Background()
	client, err := control.Dial(ctx, settings.Store.Dir)
	if err != nil {
		return usageError("%w; this asks the server that issues", err)
	}
	defer client.Close()
	switch {
	case c.List != "":
		return c.list(ctx, t, client)
	case c.Reason == "":
		a, err := client.Affected(ctx, w)
		if err != nil {
			return exitError{exitUndecided, err}
		}
		fmt.Fprintf(t.out, "%d records in force\n", a.Records)
		printFormats(t, a)
		fmt.Fprintf(t.out, "to revoke them: the same with --reason WORD --agreed %d\n", a.Records)
		return nil
	case c.Agreed < 0:
		return usageError("--agreed: say how many records there are; without --reason this command tells")
	}
	done, err := client.RevokeMany(ctx, w, issuer.Reason(c.Reason), c.Agreed)
	if err != nil {
		return exitError{exitUndecided, err}
	}
	fmt.Fprintf(t.out, "%d records revoked, %d left\n", done.Revoked, done.Left)
	if done.Left > 0 {
		return exitError{exitUndecided, fmt.Errorf("%d are left: %s; ask again with --agreed %d", done.Left, strings.Join(done.Reasons, ", "), done.Left)}
	}
	return nil
}

func (c *revokeCmd) which() (w issuer.Which, err error) {
	w.Lot, w.Product = c.Lot, c.Product
	if c.Key != "" {
		kid, err := hex.DecodeString(c.Key)
		if err != nil {
			return w, usageError("--key %s: hexadecimal", c.Key)
		}
		w.KIDs = [][]byte{kid}
	}
	for text, at := range map[string]*time.Time{c.From: &w.From, c.Until: &w.Until} {
		if text == "" {
			continue
		}
		if *at, err = time.Parse(time.RFC3339, text); err != nil {
			return w, usageError("%s: a time looks like 2026-11-22T10:00:00Z", text)
		}
	}
	return w, nil
}

// list revokes what a file names, line by line. It exits with 1 where a line was not
// done and was not done before.
func (c *revokeCmd) list(ctx context.Context, t terminal, client *control.Client) error {
	data, err := readInput(c.List, t.in)
	if err != nil {
		return exitError{exitUsage, err}
	}
	var lines []string
	var numbers []int
	scanner := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	for n := 1; scanner.Scan(); n++ {
		if line := strings.TrimSpace(scanner.Text()); line != "" && line[0] != '#' {
			lines, numbers = append(lines, line), append(numbers, n)
		}
	}
	if err := scanner.Err(); err != nil {
		return usageError("%s: %w", c.List, err)
	}
	if len(lines) == 0 || len(lines) > issuer.MaxListed {
		return usageError("%s has %d lines; there may be 1 to %d", c.List, len(lines), issuer.MaxListed)
	}
	dry := c.Reason == ""
	why := issuer.Reason(c.Reason)
	if dry {
		why = issuer.ReasonData // of what is only asked about
	}
	results, err := client.RevokeListed(ctx, lines, why, dry)
	if err != nil {
		return exitError{exitUndecided, err}
	}
	var csv strings.Builder
	fmt.Fprintln(&csv, "line,result")
	counts, failed := make(map[string]int), 0
	for i, r := range results {
		fmt.Fprintf(&csv, "%d,%s\n", numbers[i], r)
		counts[r]++
		switch r {
		case issuer.RowRevoked, issuer.RowWouldBe, issuer.RowAlready, issuer.RowRepeated:
		default:
			failed++
		}
	}
	if c.Out != "" {
		err = keep.Replace(c.Out, []byte(csv.String()), 0o644)
	} else {
		_, err = fmt.Fprint(t.out, csv.String())
	}
	if err != nil {
		return exitError{exitUsage, err}
	}
	for _, r := range []string{issuer.RowRevoked, issuer.RowWouldBe, issuer.RowAlready, issuer.RowRepeated} {
		if counts[r] > 0 {
			fmt.Fprintf(t.err, "%s: %d\n", r, counts[r])
		}
	}
	if failed > 0 {
		return exitError{exitNotValid, errors.New(format.Visible(fmt.Sprintf("%d lines were not done: see their results", failed)))}
	}
	return nil
}

// printFormats writes how many certificates of each format there are.
func printFormats(t terminal, a *control.Affected) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	for _, f := range issuer.Formats() {
		if n := a.Formats[string(f)]; n > 0 {
			fmt.Fprintf(w, "  %s\t%d certificates\n", f, n)
		}
	}
	w.Flush()
}

// Affected implements [control.Desk].
func (s *service) Affected(ctx context.Context, w issuer.Which) (*control.Affected, error) {
	registry, err := s.issuing()
	if err != nil {
		return nil, err
	}
	return affected(ctx, registry, w, false)
}

// RevokeMany implements [control.Desk].
func (s *service) RevokeMany(ctx context.Context, w issuer.Which, why issuer.Reason, agreed int) (*issuer.RevokedMany, error) {
	registry, err := s.issuing()
	if err != nil {
		return nil, err
	}
	defer s.changed()
	return registry.RevokeMany(ctx, operatorActor, w, why, agreed)
}

// RevokeListed implements [control.Desk].
func (s *service) RevokeListed(ctx context.Context, lines []string, why issuer.Reason, dry bool) ([]issuer.ListedRow, error) {
	registry, err := s.issuing()
	if err != nil {
		return nil, err
	}
	if !dry {
		defer s.changed()
	}
	return registry.RevokeListed(ctx, operatorActor, lines, why, dry)
}

// issuing returns the registry of a service that is set up.
func (s *service) issuing() (*issuer.Registry, error) {
	if registry := s.registry.Load(); registry != nil {
		return registry, nil
	}
	return nil, errors.New("the service is not set up")
}
