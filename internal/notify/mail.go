package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/mail"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Security is how the connection to a mail server is protected.
type Security string

// The ways. There is no fourth, that protects it where the server offers it: who is in
// between could take the offer out.
const (
	StartTLS Security = "starttls" // RFC 3207
	Implicit Security = "tls"      // from the first byte: RFC 8314
	Loopback Security = "loopback" // not at all, to a literal address of this machine
)

// Post is the mail server that takes our mail.
type Post struct {
	Server   string // host:port
	Security Security
	Roots    *x509.CertPool // nil: the system's
	User     string         // empty: it asks for no name
	Password string
	From     string        // address
	Hello    string        // our host name; empty: localhost
	Timeout  time.Duration // 0: 30 seconds
}

// send sends a notice as plain text.
func (p *Post) send(ctx context.Context, address string, n Notice, now time.Time) error {
	to, err := plain(address)
	if err != nil {
		return permanent("an address of mail that is none")
	}
	from, err := plain(p.From)
	if err != nil {
		return permanent("the sender's address is none")
	}
	host, _, err := net.SplitHostPort(p.Server)
	if err != nil {
		return permanent("the mail server's address is none")
	}
	temporary := func(what string, err error) error {
		return fmt.Errorf("mail: %s: %w: %w", what, err, ErrTemporary)
	}
	timeout := p.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	secured := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: p.Roots}
	var conn net.Conn
	switch p.Security {
	case Implicit:
		conn, err = (&tls.Dialer{Config: secured}).DialContext(ctx, "tcp", p.Server)
	case Loopback:
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
			return permanent("mail without TLS to another machine")
		}
		fallthrough
	case StartTLS:
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", p.Server)
	default:
		return permanent("mail without TLS")
	}
	if err != nil {
		return temporary("connection", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return temporary("connection", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return temporary("greeting", err)
	}
	hello := p.Hello
	if hello == "" {
		hello = "localhost"
	}
	if err := c.Hello(hello); err != nil {
		return temporary("greeting", err)
	}
	if p.Security == StartTLS {
		if err := c.StartTLS(secured); err != nil {
			return temporary("STARTTLS", err)
		}
	}
	if p.User != "" {
		// A name that is refused is for the operator to mend; the notice can wait.
		if err := c.Auth(smtp.PlainAuth("", p.User, p.Password, host)); err != nil {
			return fmt.Errorf("mail: the server does not let us in: %w", ErrTemporary)
		}
	}
	if err := c.Mail(from); err != nil {
		return answered("sender", err)
	}
	if err := c.Rcpt(to); err != nil {
		return answered("reader", err)
	}
	w, err := c.Data()
	if err != nil {
		return answered("data", err)
	}
	if _, err := w.Write(compose(from, to, n, now)); err != nil {
		return temporary("data", err)
	}
	if err := w.Close(); err != nil {
		return answered("data", err)
	}
	_ = c.Quit() // it has the mail
	return nil
}

// answered tells by the first digit whether another try can help (RFC 5321 section
// 4.2.1). The server's words have addresses in them.
func answered(at string, err error) error {
	var code *textproto.Error
	if errors.As(err, &code) {
		kind := ErrTemporary
		if code.Code >= 500 {
			kind = ErrPermanent
		}
		return fmt.Errorf("mail: %s: status %d: %w", at, code.Code, kind)
	}
	return fmt.Errorf("mail: %s: %w: %w", at, err, ErrTemporary)
}

// plain returns a bare address, of ASCII: others need a server that knows SMTPUTF8.
func plain(address string) (string, error) {
	a, err := mail.ParseAddress(address)
	if err != nil {
		return "", err
	}
	if a.Address != strings.TrimSpace(address) || len(a.Address) > 254 || strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '<' || r == '>' || r == '"' }) {
		return "", ErrPermanent
	}
	return a.Address, nil
}

// compose writes the mail. Nothing of the notice can end a header: the subject has no
// control characters, and the text stands in base64.
func compose(from, to string, n Notice, now time.Time) []byte {
	subject := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(n.Subject, "\ufffd"))
	for len(subject) > maxSubject {
		_, last := utf8.DecodeLastRuneInString(subject)
		subject = subject[:len(subject)-last]
	}
	var b bytes.Buffer
	for _, header := range [][2]string{
		{"From", "<" + from + ">"}, {"To", "<" + to + ">"}, {"Subject", mime.BEncoding.Encode("utf-8", subject)}, {"Date", now.Format(time.RFC1123Z)},
		{"Message-ID", "<" + n.ID + from[strings.LastIndexByte(from, '@'):] + ">"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: nobody's holiday answers it
		{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "base64"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", header[0], header[1])
	}
	text := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(strings.ReplaceAll(n.Text, "\r\n", "\n"), "\n", "\r\n") + "\r\n"))
	for len(text) > 0 {
		line := text[:min(76, len(text))]
		text = text[len(line):]
		b.WriteString("\r\n" + line)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
