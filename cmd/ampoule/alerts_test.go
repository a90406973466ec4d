package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"ampoule/party/verifier"
)

// alerts holds the alert rules of a file against what the server at $PORT exports,
// by TLS: every metric that a rule names, and every label.
func alerts() {
	if err := checkAlerts(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var (
	metricName = regexp.MustCompile(`\b((?:ampoule|process|go)_[a-z_]+)(\{[^}]*\})?`)
	labelMatch = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
)

func checkAlerts(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	dec.KnownFields(true)
	if err := dec.Decode(&rules); err != nil {
		return err
	}
	exported, err := scrape()
	if err != nil {
		return err
	}
	var errs []error
	seen, names := 0, make(map[string]bool)
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			fault := func(f string, args ...any) { errs = append(errs, fmt.Errorf(r.Alert+": "+f, args...)) }
			if names[r.Alert] || r.Annotations["summary"] == "" || r.Annotations["action"] == "" || !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
				fault("it needs a name of its own, a severity, a summary and an action")
			}
			names[r.Alert] = true
			found := metricName.FindAllStringSubmatch(r.Expr, -1)
			if len(found) == 0 {
				fault("no metric in %s", r.Expr)
			}
			for _, m := range found {
				seen++
				series := regexp.MustCompile(`(?m)^`+m[1]+`(\{.*)? `).FindAllString(exported, -1)
				if len(series) == 0 {
					fault("%s is not exported", m[1])
					continue
				}
				for _, l := range labelMatch.FindAllStringSubmatch(m[2], -1) {
					name, values := l[1], strings.Split(l[3], "|")
					if name == "job" {
						continue // Prometheus adds it
					}
					if !strings.Contains(series[0], name+`="`) {
						fault("%s has no label %s", m[1], name)
					}
					for _, v := range values {
						if name == "outcome" && !slices.Contains(verifier.Outcomes(), verifier.Outcome(v)) {
							fault("there is no outcome %s", v)
						}
						if l[2] == "=" && !slices.ContainsFunc(series, func(s string) bool { return strings.Contains(s, name+`="`+v+`"`) }) {
							fault("%s has no %s", m[1], l[0])
						}
					}
				}
			}
		}
	}
	if seen < 15 {
		errs = append(errs, fmt.Errorf("%d metrics were found in the rules", seen))
	}
	return errors.Join(errs...)
}

// scrape asks for the metrics, for some seconds until there is a server.
func scrape() (string, error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	server := "https://127.0.0.1:" + os.Getenv("PORT")
	var err error
	for range 50 {
		var res *http.Response
		// Counters are exported from the first thing on that they count.
		if res, err = client.Post(server+"/v1/verify", "application/json", strings.NewReader(`{"texts":["HC1:NONE"]}`)); err == nil {
			res.Body.Close()
			if res, err = client.Get(server + "/metrics"); err != nil {
				return "", err
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			return string(text), err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return "", err
}

// certificate makes the certificate and key of a server: certificate SERIAL CERT KEY.
// Asked with a fourth argument it says which serial number the server at $PORT has.
func certificate() {
	if err := makeCertificate(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func makeCertificate(args []string) error {
	if args[0] == "of-server" {
		conn, err := tls.Dial("tcp", "127.0.0.1:"+os.Getenv("PORT"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Println(conn.ConnectionState().PeerCertificates[0].SerialNumber)
		return nil
	}
	serial, _ := new(big.Int).SetString(args[0], 10)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{SerialNumber: serial, DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(args[1], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(args[2], pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}
