package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"text/tabwriter"
	"time"

	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/dccrevocation"
	"ampoule/format/hcert"
	"ampoule/internal/keep"
)

type statusBatchCmd struct {
	Country string   `required:"" placeholder:"CC" help:"Two letters of the country that revokes."`
	Expires string   `required:"" placeholder:"DATE" help:"When the last of them has expired by itself (YYYY-MM-DD)."`
	KID     string   `placeholder:"K" help:"Key identifier in hexadecimal that all were signed with; of any key of the country otherwise."`
	Out     string   `required:"" placeholder:"F" help:"File to write."`
	File    []string `arg:"" name:"file" help:"Texts or pictures of codes, a thousand at most."`
}

// Run writes the batch, and a line for each certificate. It exits with 1 and writes
// nothing where one of them cannot be revoked so.
func (c *statusBatchCmd) Run(t terminal) error {
	day, err := time.Parse(time.DateOnly, c.Expires)
	if err != nil {
		return usageError("--expires %s: a day, YYYY-MM-DD", c.Expires)
	}
	b := dccrevocation.Batch{Country: c.Country, Expires: day.Add(24*time.Hour - time.Second), Type: dccrevocation.TypeSignature}
	if c.KID != "" {
		if b.KID, err = hex.DecodeString(c.KID); err != nil {
			return usageError("--kid %s: hexadecimal", c.KID)
		}
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FILE\tRESULT\tHASH")
	seen := make(map[dccrevocation.Hash128]bool)
	failed := 0
	for _, path := range c.File {
		data, err := readInput(path, t.in)
		if err != nil {
			return exitError{exitUsage, err}
		}
		texts, err := readCodes(data)
		if err != nil {
			failed++
			fmt.Fprintf(w, "%s\t%s\t\n", format.Visible(path), format.Reason(err, "unreadable"))
			continue
		}
		for _, text := range texts {
			hash, err := signatureHash(text)
			switch {
			case err != nil:
				failed++
				fmt.Fprintf(w, "%s\t%s\t\n", format.Visible(path), format.Reason(err, "unreadable"))
			case seen[hash]:
				fmt.Fprintf(w, "%s\trepeated\t\n", format.Visible(path))
			default:
				seen[hash] = true
				b.Hashes = append(b.Hashes, hash)
				fmt.Fprintf(w, "%s\trevoked\t%s\n", format.Visible(path), base64.StdEncoding.EncodeToString(hash[:]))
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		return exitError{exitNotValid, fmt.Errorf("%d cannot be revoked by the hash of their signature: nothing was written", failed)}
	}
	data, err := b.Encode()
	if err != nil {
		return usageError("%w", err)
	}
	if err := keep.Replace(c.Out, data, 0o644); err != nil {
		return exitError{exitUsage, err}
	}
	fmt.Fprintf(t.out, "%s: %d hashes\n", c.Out, len(b.Hashes))
	return nil
}

// signatureHash is what the EU scheme lists of a certificate.
func signatureHash(text string) (dccrevocation.Hash128, error) {
	m, err := hcert.Decode(text, hcert.Field)
	if err != nil {
		return dccrevocation.Hash128{}, err
	}
	return dccrevocation.Signature(m.Sign1.Signature, m.Sign1.Alg != cose.PS256)
}
