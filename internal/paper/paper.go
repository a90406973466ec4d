// Package paper prints certificates: on A4, to fold twice into A6, with a QR code
// that no fold crosses and beside it, in two languages, what the code says.
//
//	file, err := paper.Print([]paper.Certificate{{Format: cert.FormatICVP, Text: text, Record: record}},
//		paper.Options{First: messages.English, Second: french, Made: now})
//
// A whole sheet of an ICVP is the page of the International Health Regulations
// (2005), annex 6: their wording and their columns, to be signed and stamped. The
// other formats, and several certificates on a sheet, get a plain page.
//
// The text may be of any script that a font is there for. It is shaped (HarfBuzz)
// and ordered (UAX #9), a character without a glyph is an error, and what is too
// long wraps, then shrinks, and is refused before it would be cut. The PDF is
// tagged for screen readers, names nobody in its metadata, and is the same for
// the same input.
package paper

import (
	"errors"
	"fmt"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/internal/messages"
	"ampoule/internal/qr"
	"ampoule/party/verifier"
)

// Defects of what is to be printed.
const (
	ErrFormat   format.Defect = "format-not-printed" // not one of those that are issued
	ErrLanguage format.Defect = "language-not-printed"
	ErrSheet    format.Defect = "bad-sheet"         // none or too many certificates, or no such division of a sheet
	ErrNoRoom   format.Defect = "no-room"           // the content does not fit, even in the smallest print
	ErrDense    format.Defect = "code-too-detailed" // the QR code needs more room than this division has
)

// MaxCertificates bounds a document.
const MaxCertificates = 256

// Certificate is one to be printed.
type Certificate struct {
	Format      cert.Format
	Text        string // of the QR code
	Participant string // who issued it, by the code of the trust network
	Record      *cert.Certificate
	// Advice is what is known against the dose when it is printed. What the holder should
	// do about it is on the paper, and the certificate is what it was.
	Advice verifier.Advice
}

// Options say how to print.
type Options struct {
	// First is English or French, in which a certificate under the Regulations is
	// completed (annex 6, paragraph 5); Second any other.
	First, Second *messages.Language
	PerSheet      int // certificates on a sheet: 1, 2 or 4; 0 means 1
	Fonts         []*Font
	Made          time.Time // the date of the document
}

func (o *Options) check(certificates []Certificate) error {
	switch {
	case o.First == nil || o.Second == nil || o.First == o.Second:
		return fmt.Errorf("paper: two languages are needed: %w", ErrLanguage)
	case o.First.Tag != "en" && o.First.Tag != "fr":
		return fmt.Errorf("paper: %q first; it must be English or French: %w", o.First.Tag, ErrLanguage)
	case o.PerSheet != 1 && o.PerSheet != 2 && o.PerSheet != 4:
		return fmt.Errorf("paper: %d on a sheet, want 1, 2 or 4: %w", o.PerSheet, ErrSheet)
	case len(certificates) == 0 || len(certificates) > MaxCertificates:
		return fmt.Errorf("paper: %d certificates, want 1 to %d: %w", len(certificates), MaxCertificates, ErrSheet)
	}
	for _, c := range certificates {
		switch c.Format {
		case cert.FormatICVP, cert.FormatEUDCC, cert.FormatDDCC, cert.FormatSHC, cert.FormatVDSNC:
		default:
			return fmt.Errorf("paper: %s: %w", c.Format, ErrFormat)
		}
		if c.Record == nil || c.Record.Vaccination == nil && c.Record.Test == nil && c.Record.Recovery == nil {
			return fmt.Errorf("paper: no event: %w", format.RequiredMissing)
		}
		if c.Format == cert.FormatICVP && c.Record.Vaccination == nil {
			return fmt.Errorf("paper: an ICVP without a vaccination: %w", format.RequiredMissing)
		}
	}
	return nil
}

// scales are the sizes of print that are tried, the largest first. At the last,
// labels have 5 points and values 7, below which many cannot read.
var scales = []float64{1.15, 1.07, 1, 0.92, 0.85, 0.78, 0.72}

// Print makes a PDF of the certificates.
func Print(certificates []Certificate, o Options) ([]byte, error) {
	if o.PerSheet == 0 {
		o.PerSheet = 1
	}
	if err := o.check(certificates); err != nil {
		return nil, err
	}
	w := takeWorker(o.Fonts)
	defer w.giveBack()
	title := o.First.Format(string(certificates[0].Format))
	for _, c := range certificates[1:] {
		if c.Format != certificates[0].Format {
			title = o.First.Text("paper.code")
		}
	}
	d := newPDF(title, o.First.Tag, o.Made)
	pages := (len(certificates) + o.PerSheet - 1) / o.PerSheet
	for n := range pages {
		on := certificates[n*o.PerSheet : min(len(certificates), (n+1)*o.PerSheet)]
		p := d.addPage()
		foldMarks(p, o.PerSheet)
		for i, c := range on {
			if err := place(w, p, &o, c, i); err != nil {
				return nil, fmt.Errorf("certificate %d: %w", n*o.PerSheet+i+1, err)
			}
		}
		if pages > 1 {
			if err := pageNumber(w, p, &o, n+1, pages); err != nil {
				return nil, err
			}
		}
	}
	return d.bytes(), nil
}

// place draws one certificate in the largest print that fits.
func place(w *worker, p *sheet, o *Options, c Certificate, i int) error {
	side := float64(wideCode)
	if o.PerSheet == 4 {
		side = narrowCode
	}
	code, err := symbol(c.Text, side)
	if err != nil {
		return err
	}
	for _, scale := range scales {
		a := &artist{worker: w, sheet: p, first: o.First, second: o.Second, scale: scale, Certificate: c, code: code}
		a.open("Sect", "")
		switch o.PerSheet {
		case 1:
			a.whole()
		case 2:
			a.half(float64(i) * foldY)
		case 4:
			a.quarter(float64(i%2)*foldX, float64(i/2)*foldY)
		}
		a.close()
		switch {
		case errors.Is(a.err, errOverflow):
			continue
		case a.err != nil:
			return a.err
		}
		a.at = p.pdf.root
		for _, draw := range a.items {
			draw()
		}
		return nil
	}
	return fmt.Errorf("paper: not even in the smallest print; print fewer certificates on a sheet: %w", ErrNoRoom)
}

// The folds of a sheet, in millimetres: both halve it, into A6.
const (
	foldX = sheetWidth / 2
	foldY = sheetHeight / 2
)

// foldMarks marks the folds at the edges, and where to cut between certificates
// by a broken line.
func foldMarks(p *sheet, perSheet int) {
	const tick = 5
	p.rule(foldX, 0, foldX, tick, 0.15, "")
	p.rule(foldX, sheetHeight-tick, foldX, sheetHeight, 0.15, "")
	p.rule(0, foldY, tick, foldY, 0.15, "")
	p.rule(sheetWidth-tick, foldY, sheetWidth, foldY, 0.15, "")
	if perSheet >= 2 {
		p.rule(tick, foldY, sheetWidth-tick, foldY, 0.1, "1 3")
	}
	if perSheet == 4 {
		p.rule(foldX, tick, foldX, sheetHeight-tick, 0.1, "1 3")
	}
}

// pageNumber stands at the foot of a sheet, as an artifact.
func pageNumber(w *worker, p *sheet, o *Options, page, pages int) error {
	l, err := w.line(o.First.Text("paper.page", "page", page, "pages", pages), style{}, false)
	if err != nil {
		return err
	}
	const size = 6
	p.artifact()
	p.text(&l, sheetWidth-8-l.width*size/pointsPerMM, sheetHeight-3.5, size, 0.3)
	p.end()
	return nil
}

// The narrowest modules of a QR code, in millimetres: what is aimed at, by a
// lower level of error correction where that helps, and what is refused.
const (
	goodModule  = 0.5
	leastModule = 0.4
)

// symbol makes the QR code for a square with a side in millimetres, quiet zone
// included.
func symbol(text string, side float64) (*qr.Symbol, error) {
	// Level Q, as HCERT section 4.2.2 recommends, for what is not too large.
	s, err := qr.EncodeWithin(text, qr.Q, int(side/goodModule)-2*quietZone)
	if err != nil {
		return nil, err
	}
	if float64(s.Size()+2*quietZone)*leastModule > side {
		return nil, fmt.Errorf("paper: %d modules in %.0f mm; print fewer certificates on a sheet: %w", s.Size(), side, ErrDense)
	}
	return s, nil
}
