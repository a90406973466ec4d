package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/internal/storetest"
	"ampoule/party/issuer"
)

// clinic stands for what clerks do to the store of a script, at $STORE, with
// $AMPOULE_STORE_POSTGRES where that is set: clinic VERB ARGUMENT...
func clinic() {
	if err := runClinic(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runClinic(verb string, args []string) error {
	ctx := context.Background()
	dir := os.Getenv("STORE")
	if dir == "" {
		dir = "store"
	}
	masterPath := filepath.Join(dir, "master.key")
	where := store.Config{Dir: dir, Postgres: os.Getenv("AMPOULE_STORE_POSTGRES")}
	switch verb {
	case "make": // KEY: a new store that signs with a key file
		if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
			return err
		}
		key, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "keys", "dsc.key"), key, 0o600); err != nil {
			return err
		}
		if where.Master, err = keys.NewMasterKey(rand.Reader); err != nil {
			return err
		}
		if err := keys.SaveMasterKey(masterPath, where.Master, keys.Unencrypted()); err != nil {
			return err
		}
		return store.Create(ctx, where)
	case "alter": // a line of the audit log's first seal, as the owner of the database can
		return touch(where, `UPDATE audit SET actor = 'somebody' WHERE id = (SELECT id FROM audit WHERE seal = 1 ORDER BY id LIMIT 1)`)
	case "truncate": // the audit log's last seal, with its lines
		return touch(where, `DELETE FROM audit WHERE seal = (SELECT max(n) FROM seal)`, `DELETE FROM seal WHERE n = (SELECT max(n) FROM seal)`)
	case "newer": // the schema of a version of the future
		db, err := sql.Open("sqlite", filepath.Join(dir, databaseFile))
		if err != nil {
			return err
		}
		_, err = db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`)
		return err
	case "verify": // FILE SECONDS: so long, as fast as the server at $PORT answers
		seconds, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return load(args[0], time.Duration(seconds)*time.Second)
	}
	master, err := keys.LoadMasterKey(masterPath, keys.Unencrypted())
	if err != nil {
		return err
	}
	where.Master = master
	s, err := store.Open(ctx, where)
	if err != nil {
		return err
	}
	defer s.Close()
	key, err := keys.Load(filepath.Join(dir, "keys", "dsc.key"), keys.Unencrypted())
	if err != nil {
		return err
	}
	c := key.Certificate()
	sign := &issuer.Issuer{Signer: key.Signer, KID: key.KID(), NotBefore: c.NotBefore, NotAfter: c.NotAfter, Participant: "XA", Address: "https://issuer.example/cards", Now: time.Now}
	r := &issuer.Registry{Book: s, Country: "XA", Now: time.Now, Issuers: map[issuer.Format]*issuer.Issuer{issuer.EUDCC: sign, issuer.SHC: sign}}
	by := storetest.By("clerk-1")
	heads, _, err := r.List(ctx, by, issuer.ID{}, 1000)
	if err != nil {
		return err
	}
	nth := func() (issuer.Head, error) { // ARG 0, the oldest being 0
		n, err := strconv.Atoi(args[0])
		if err != nil || n >= len(heads) {
			return issuer.Head{}, fmt.Errorf("there is no record %s", args[0])
		}
		return heads[len(heads)-1-n], nil
	}
	switch verb {
	case "issue": // NUMBER
		number, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		for n := range number {
			o := storetest.Order("", storetest.Dose(len(heads)+n))
			o.Wanted[0].Expires = time.Now().AddDate(0, 6, 0)
			if _, err := r.Issue(ctx, o); err != nil {
				return err
			}
		}
	case "revoke": // N
		h, err := nth()
		if err != nil {
			return err
		}
		_, err = r.Revoke(ctx, by, issuer.Guard{ID: h.ID, Version: h.Version}, issuer.ReasonData)
		return err
	case "erase": // N
		h, err := nth()
		if err != nil {
			return err
		}
		_, err = r.Erase(ctx, by, h.ID)
		return err
	case "dump": // every record, read, one a line
		for _, h := range heads {
			held, err := r.Read(ctx, by, h.ID)
			if err != nil {
				return err
			}
			writeJSON(os.Stdout, held)
		}
	case "card": // N FILE: its EU DCC
		h, err := nth()
		if err != nil {
			return err
		}
		held, err := r.Read(ctx, by, h.ID)
		if err != nil {
			return err
		}
		return os.WriteFile(args[1], []byte(held.Artefacts[0].Text), 0o600)
	case "list": // FILE: which EU DCC are revoked
		lists, err := r.StatusLists(ctx)
		if err != nil {
			return err
		}
		for _, l := range lists {
			if l.Scheme == issuer.SchemeSignature {
				return os.WriteFile(args[0], l.Document, 0o600)
			}
		}
		return errors.New("nothing is revoked")
	default:
		return fmt.Errorf("there is no verb %s", verb)
	}
	return nil
}

// touch changes the audit log behind the back of the service.
func touch(where store.Config, statements ...string) error {
	driver, source := "sqlite", filepath.Join(where.Dir, databaseFile)
	on := func(string) string { return "" }
	if where.Postgres != "" {
		driver, source = "pgx", where.Postgres
		on = func(table string) string { return " ON " + table }
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	defer db.Close()
	var guards []string
	for table, names := range map[string][]string{"audit": {"audit_update", "audit_delete"}, "seal": {"seal_update", "seal_delete", "seal_change"}} {
		for _, name := range names {
			guards = append(guards, "DROP TRIGGER IF EXISTS "+name+on(table))
		}
	}
	for _, statement := range append(guards, statements...) {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	return nil
}

// load verifies one text over and over, by four clients, and wants it to be valid.
func load(file string, last time.Duration) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"texts": []string{string(text)}})
	if err != nil {
		return err
	}
	end := time.Now().Add(last)
	errs := make(chan error, 4)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for time.Now().Before(end) {
				res, err := http.Post("http://127.0.0.1:"+os.Getenv("PORT")+"/v1/verify", "application/json", bytes.NewReader(body))
				if err != nil {
					errs <- err
					return
				}
				answer, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"outcome":"valid"`)) {
					errs <- fmt.Errorf("%s: %s, %v", res.Status, answer, err)
					return
				}
			}
		})
	}
	group.Wait()
	close(errs)
	return <-errs
}

// flip changes a byte of a file: flip FILE OFFSET, or cuts it off there: flip FILE
// OFFSET cut. A negative offset counts from the end.
func flip() {
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	at, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	if at < 0 {
		at += len(data)
	}
	if len(os.Args) > 3 {
		data = data[:at]
	} else {
		data[at] ^= 0x20
	}
	if err := os.WriteFile(os.Args[1], data, 0o600); err != nil {
		panic(err)
	}
}

// TestOperating keeps the promises of the commands that operators use, on stores
// with records in them. With PostgreSQL, PG1 to PG3 are empty databases.
func TestOperating(t *testing.T) {
	rules, err := filepath.Abs("../../deploy/prometheus/ampoule.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var dsns []string
	t.Run("postgres", func(t *testing.T) {
		for range 3 {
			dsn, _ := storetest.Postgres(t)
			dsns = append(dsns, dsn)
		}
	})
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/ops",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// hangup sends SIGHUP to what was started last.
			"hangup": func(ts *testscript.TestScript, _ bool, _ []string) {
				running := ts.BackgroundCmds()
				ts.Check(running[len(running)-1].Process.Signal(syscall.SIGHUP))
			},
		},
		Condition: func(cond string) (bool, error) {
			if cond != "postgres" {
				return false, fmt.Errorf("unknown condition %s", cond)
			}
			return len(dsns) == 3, nil
		},
		Setup: func(env *testscript.Env) error {
			port, err := freePort()
			env.Setenv("PORT", port)
			env.Setenv("AMPOULE_STORE_DIR", "store")
			env.Setenv("RULES", rules)
			for n, dsn := range dsns {
				env.Setenv(fmt.Sprint("PG", n+1), dsn)
			}
			return err
		},
	})
}
