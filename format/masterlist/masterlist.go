// Package masterlist reads what the passport world publishes about its keys
// (ICAO Doc 9303-12): master lists, each a signed set of the certificates of
// country signing authorities (CSCA). It is a signed message (package cms) whose
// content is of type id-icao-cscaMasterList:
//
//	CscaMasterList = { version 0, SET OF Certificate }             DER
//
// [Parse] reads a list, [List.Verify] says whose it is. The certificates in it
// are read by package pkix: crypto/x509 refuses about one in four.
//
// Nothing here is trusted: who may sign a list, and for what its authorities
// are believed, is the caller's.
package masterlist

import (
	"crypto"
	"errors"
	"fmt"
	"time"

	"ampoule/format"
	"ampoule/format/cms"
	"ampoule/format/der"
	"ampoule/format/pkix"
)

// The defects of a list. Those of messages, certificates and signatures are
// their packages'.
const (
	ErrNotMasterList  = format.Defect("not-a-master-list")
	ErrNoSigner       = format.Defect("no-signer")
	ErrNotPinned      = format.Defect("signer-not-pinned")
	ErrSignerUsage    = format.Defect("signer-usage")
	ErrSignerValidity = format.Defect("signer-not-valid")
)

// MaxCertificates bounds a list. The largest of 2026 has 600 KB and 400
// certificates; its bytes are bounded by [cms.MaxBytes].
const MaxCertificates = 4096

// Object identifiers of Doc 9303-12.
const (
	oidMasterList = "2.23.136.1.1.2"
	// usageListSigner is the extended key usage of those who sign master lists
	// (Doc 9303-12 table 6).
	usageListSigner = "2.23.136.1.1.3"
)

// List is a parsed, unverified master list.
type List struct {
	Entries []Entry
	// Carried are the certificates beside the content: of the signer, and of the
	// authority that issued it. They are the sender's word.
	Carried []*pkix.Certificate

	content []byte // as signed
	signers []cms.Signer
}

// Entry is one certificate of the list. Entries whose Err is set could not be
// read; they are kept to explain what was dropped.
type Entry struct {
	Raw         []byte
	Certificate *pkix.Certificate
	Err         error
}

// Is reports whether data begins like a master list: a CMS message whose
// content says so. It is a look at the first bytes, not a check.
func Is(data []byte) bool { return cms.Is(data, oidMasterList) }

// Parse reads a master list. Defects of one certificate are found in
// [Entry.Err]; nothing is verified.
func Parse(data []byte) (*List, error) {
	l, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("master list: %w", err)
	}
	return l, nil
}

func parse(data []byte) (*List, error) {
	m, err := cms.Parse(data)
	switch {
	case err != nil:
		return nil, err
	case m.ContentType != oidMasterList || m.Content == nil:
		return nil, ErrNotMasterList
	}
	l := &List{Carried: m.Certificates, content: m.Content, signers: m.Signers}
	return l, l.readContent()
}

// readContent reads the CscaMasterList.
func (l *List) readContent() error {
	r := &der.Reader{Rest: l.content}
	list := r.Sequence("CscaMasterList")
	r.End("CscaMasterList")
	list.Take(der.TagInteger, "version")
	set := list.Enter(der.TagSet, "certList")
	list.End("CscaMasterList")
	if err := der.First(r, list, set).Err; err != nil {
		return err
	}
	for len(set.Rest) > 0 {
		if len(l.Entries) == MaxCertificates {
			return fmt.Errorf("certList: more than %d: %w", MaxCertificates, der.ErrTooMany)
		}
		e := Entry{Raw: set.Next("certificate").Raw}
		if set.Err != nil {
			return set.Err
		}
		e.Certificate, e.Err = pkix.ParseCertificate(e.Raw)
		l.Entries = append(l.Entries, e)
	}
	return nil
}

// Verify checks that the list was signed under the pinned key: by it, or by a
// list signer whose certificate it issued and whose usage and validity, on the
// day of signing, say that it may. It returns the time of signing that the
// signer states (zero where it states none).
func (l *List) Verify(pin crypto.PublicKey) (time.Time, error) {
	err := error(ErrNoSigner)
	for _, s := range l.signers {
		if err = l.verify(s, pin); err == nil {
			return s.SigningTime, nil
		}
	}
	return time.Time{}, err
}

func (l *List) verify(s cms.Signer, pin crypto.PublicKey) error {
	err := s.Verify(pin, oidMasterList, l.content)
	if err == nil || errors.Is(err, cms.ErrDigest) {
		return err
	}
	for _, c := range l.Carried {
		if !s.Names(c) || s.Verify(c.PublicKey, oidMasterList, l.content) != nil {
			continue
		}
		switch {
		case c.CheckSignature(pin) != nil:
			return ErrNotPinned
		case !c.HasExtKeyUsage(usageListSigner):
			return ErrSignerUsage
		case s.SigningTime.IsZero() || s.SigningTime.Before(c.NotBefore) || s.SigningTime.After(c.NotAfter):
			return ErrSignerValidity
		}
		return nil
	}
	return err
}
