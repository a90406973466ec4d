package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/format/strictjson"
	"ampoule/internal/keys"
	"ampoule/internal/paper"
	"ampoule/internal/qr"
	"ampoule/party/issuer"
)

type issueCmd struct {
	secretFlags
	paperFlags
	Key         string   `required:"" placeholder:"F" help:"Key file of the document signer."`
	Participant string   `placeholder:"CODE" help:"Code under which trust lists name the issuer, the state of a vds-nc; the country of the key's certificate otherwise."`
	Address     string   `placeholder:"URL" help:"Address of the issuer of SMART Health Cards."`
	Format      string   `enum:"icvp,eu-dcc,ddcc,shc,vds-nc" default:"icvp" help:"Format: ${enum}. The key of a vds-nc is one for visible digital seals."`
	Catalogue   []string `sep:"none" placeholder:"F" help:"WHO's catalogue of ICVP products; 'demo' is a fictitious one."`
	In          string   `placeholder:"F" help:"The record in JSON ('-' is standard input); the flags below overwrite parts of it."`
	Out         []string `sep:"none" placeholder:"F" help:"Write the code as .txt, .svg or .png; may be repeated. Standard output otherwise."`
	Level       string   `enum:"L,M,Q,H" default:"Q" help:"QR error correction: ${enum}."`
	Size        float64  `default:"45" help:"Side of the printed QR code in millimetres, margin included."`
	PDF         string   `name:"pdf" placeholder:"F" help:"Print the certificate on paper, as PDF."`
	JSON        bool     `name:"json" help:"Print the text and the signed record as JSON."`

	Name         string `group:"person" help:"Full name, as on the travel document."`
	Family       string `group:"person" help:"Family name."`
	Given        string `group:"person" help:"Given name."`
	Born         string `group:"person" placeholder:"DATE" help:"Date of birth."`
	Sex          string `group:"person" help:"male, female, other or unknown."`
	Nationality  string `group:"person" placeholder:"ABC" help:"ISO 3166-1 alpha-3 code."`
	Document     string `group:"person" help:"Number of the identity document."`
	DocumentType string `group:"person" placeholder:"TYPE" help:"HL7 v2 table 0203, such as PPN for a passport."`
	Guardian     string `group:"person" help:"Parent or guardian."`

	Disease      string `group:"vaccination" placeholder:"CODE" help:"Disease, as the format codes it; an ICVP takes it from the product."`
	Vaccine      string `group:"vaccination" placeholder:"CODE" help:"Kind of vaccine."`
	Product      string `group:"vaccination" placeholder:"CODE" help:"Product given."`
	Manufacturer string `group:"vaccination" placeholder:"CODE" help:"Marketing authorisation holder."`
	Lot          string `group:"vaccination" help:"Batch number on the vial."`
	Date         string `group:"vaccination" placeholder:"DATE" help:"Day the dose was given."`
	Dose         int    `group:"vaccination" help:"Number of the dose in its series."`
	Doses        int    `group:"vaccination" help:"Doses in the series."`
	Country      string `group:"vaccination" placeholder:"CC" help:"Country the dose was given in."`
	Clinician    string `group:"vaccination" help:"Who gave it or supervised."`
	Authority    string `group:"vaccination" help:"Issuing authority."`
	Expires      string `group:"vaccination" placeholder:"DATE" help:"Last day of validity; an ICVP without it is for life."`
}

func (c *issueCmd) Run(t terminal) error {
	lock, err := c.lockOf(c.Key)
	if err != nil {
		return err
	}
	key, err := keys.Load(c.Key, lock)
	if err != nil {
		return exitError{exitUsage, err}
	}
	signer := key.Certificate()
	if signer == nil {
		return usageError("%s: the key has no certificate, so no verifier could find it", c.Key)
	}
	catalogue, err := loadCatalogue(nil, c.Catalogue)
	if err != nil {
		return err
	}
	record, err := c.record(t)
	if err != nil {
		return err
	}
	req := issuer.Request{Format: issuer.Format(c.Format), Record: record}
	if c.Expires != "" {
		day, err := time.Parse(time.DateOnly, c.Expires)
		if err != nil {
			return usageError("--expires %q: a date looks like 2027-11-22", c.Expires)
		}
		// Valid through the whole of the last day.
		req.Expires = day.AddDate(0, 0, 1).Add(-time.Second)
	}
	participant := c.Participant
	if participant == "" && len(signer.Subject.Country) > 0 {
		participant = signer.Subject.Country[0]
	}
	var chain [][]byte
	for _, certificate := range key.Chain {
		chain = append(chain, certificate.Raw)
	}
	printed, err := c.options(time.Now())
	if err != nil {
		return err
	}
	i := &issuer.Issuer{
		Signer: key.Signer, Chain: chain, KID: key.KID(), NotBefore: signer.NotBefore, NotAfter: signer.NotAfter,
		Participant: participant, Address: c.Address, Catalogue: catalogue, Now: time.Now,
	}
	issued, err := i.Issue(req)
	if err != nil {
		return usageError("nothing was signed: %w", err)
	}
	for _, path := range c.Out {
		if err := c.write(path, issued.Text); err != nil {
			return err
		}
	}
	if c.PDF != "" {
		if err := c.paperFlags.write(c.PDF, printed, paper.Certificate{Format: issued.Format, Text: issued.Text, Participant: participant, Record: issued.Record()}); err != nil {
			return err
		}
	}
	switch {
	case c.JSON:
		writeJSON(t.out, map[string]any{"format": issued.Format, "text": issued.Text, "certificate": issued.Record()})
	case len(c.Out) == 0 && c.PDF == "":
		fmt.Fprintln(t.out, issued.Text)
	}
	return nil
}

// record reads the record and lays the flags over it.
func (c *issueCmd) record(t terminal) (*cert.Certificate, error) {
	r := new(cert.Certificate)
	if c.In != "" {
		data, err := readInput(c.In, t.in)
		if err != nil {
			return nil, usageError("--in: %w", err)
		}
		if err := strictjson.UnmarshalKnown(data, r, strictjson.Limits{}); err != nil {
			return nil, usageError("--in %s: %w", c.In, err)
		}
	}
	if r.Vaccination == nil && r.Test == nil && r.Recovery == nil {
		r.Vaccination = new(cert.Vaccination)
	}
	set := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	p := &r.Person
	set(&p.Name.Full, c.Name)
	set(&p.Name.Family, c.Family)
	set(&p.Name.Given, c.Given)
	set((*string)(&p.BirthDate), c.Born)
	set(&p.Sex, c.Sex)
	set(&p.Nationality, c.Nationality)
	set(&p.Document.Number, c.Document)
	set(&p.Document.Type, c.DocumentType)
	set(&p.Guardian, c.Guardian)
	set(&r.Authority, c.Authority)
	if v := r.Vaccination; v != nil {
		r.Kind = cert.KindVaccination
		set(&v.Disease.Code, c.Disease)
		set(&v.Vaccine.Code, c.Vaccine)
		set(&v.Product.Code, c.Product)
		set(&v.Manufacturer.Code, c.Manufacturer)
		set(&v.Lot, c.Lot)
		set((*string)(&v.Date), c.Date)
		set(&v.Country, c.Country)
		set(&v.Clinician, c.Clinician)
		if c.Dose > 0 {
			v.Dose = c.Dose
		}
		if c.Doses > 0 {
			v.Doses = c.Doses
		}
	}
	return r, nil
}

var levels = map[string]qr.Level{"L": qr.L, "M": qr.M, "Q": qr.Q, "H": qr.H}

func (c *issueCmd) write(path, text string) error {
	return writeCode(path, text, c.Size, func() (*qr.Symbol, error) { return qr.Encode(text, levels[c.Level]) })
}

// writeCode makes a file of the kind that its name ends in. size is the side of
// a picture in millimetres.
func writeCode(path, text string, size float64, encode func() (*qr.Symbol, error)) error {
	var data []byte
	ext := strings.ToLower(filepath.Ext(path))
	switch ext {
	case ".txt":
		data = []byte(text + "\n")
	case ".svg", ".png":
		symbol, err := encode()
		if err != nil {
			return usageError("--out %s: %w", path, err)
		}
		options := qr.Options{Millimetres: size, Title: "Health certificate"}
		if ext == ".svg" {
			data, err = symbol.SVG(options)
		} else {
			data, err = symbol.PNG(options)
		}
		if err != nil {
			return usageError("--out %s: %w", path, err)
		}
	default:
		return usageError("--out %s: the name must end in .txt, .svg or .png", path)
	}
	// A certificate names a person: only its owner reads the file.
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return exitError{exitUsage, err}
	}
	return nil
}
