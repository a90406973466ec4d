//go:build linux

package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL server of the tests' own, on a socket in its own folder.
type Server struct {
	dir string
	bin string
	as  *syscall.SysProcAttr
	cmd *exec.Cmd
}

var errNoPostgres = errors.New("PostgreSQL is not installed (Debian: apt-get install postgresql)")

var (
	shared  = sync.OnceValues(StartPostgres)
	schemas atomic.Int64
)

// Postgres returns the connection string of a new, empty schema on a server that
// the tests of a package share (a database of its own takes half a second to make): [StopPostgres] ends it. Where PostgreSQL is
// not installed the test is skipped, and under continuous integration it fails.
func Postgres(t testing.TB) (dsn string, s *Server) {
	t.Helper()
	s, err := shared()
	if errors.Is(err, errNoPostgres) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("test%d", schemas.Add(1))
	conn, err := pgx.Connect(t.Context(), s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	return s.DSN("postgres") + " search_path=" + name, s
}

// StopPostgres ends the shared server, if one was started. It belongs into TestMain.
func StopPostgres() {
	started := sharedServer.Load()
	if started != nil {
		started.Stop()
	}
}

var sharedServer atomic.Pointer[Server]

// StartPostgres makes a server and starts it.
func StartPostgres() (*Server, error) {
	s := &Server{as: &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}}
	initdb, err := findPostgres("initdb")
	if err != nil {
		return nil, err
	}
	s.bin = filepath.Dir(initdb)
	if s.dir, err = os.MkdirTemp("", "ampoule-postgres-"); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		// The server refuses to run as root. Debian's package brings a user for it.
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return nil, err
		}
		s.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	cmd := exec.Command(initdb, "-D", s.Data(), "-U", "ampoule", "-A", "trust", "-E", "UTF8", "--no-locale")
	cmd.Dir, cmd.SysProcAttr = s.dir, s.as
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := s.Start(); err != nil {
		return nil, err
	}
	sharedServer.CompareAndSwap(nil, s)
	return s, nil
}

// findPostgres looks in the path, and where Debian puts what it keeps out of it.
func findPostgres(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.EvalSymlinks(path)
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) == 0 {
		return "", errNoPostgres
	}
	return found[len(found)-1], nil
}

// Data is the folder of the server's files.
func (s *Server) Data() string { return filepath.Join(s.dir, "data") }

// DSN is the connection string of a database.
func (s *Server) DSN(name string) string {
	return fmt.Sprintf("host=%s user=ampoule dbname=%s", s.dir, name)
}

// Start starts the server, and waits until it answers.
func (s *Server) Start() error {
	s.cmd = exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.Data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=200")
	s.cmd.Dir, s.cmd.SysProcAttr = s.dir, s.as
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(context.Background(), s.DSN("postgres"))
		if err == nil {
			return conn.Close(context.Background())
		}
		if time.Now().After(deadline) {
			return errors.Join(err, s.cmd.Process.Kill())
		}
	}
}

// Crash ends the server as if the power had gone, as far as a process can: no
// checkpoint is written (immediate shutdown).
func (s *Server) Crash() error {
	if err := s.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		return err
	}
	_ = s.cmd.Wait() // it ends with an error, as it should
	return nil
}

// Stop ends the server and removes its files.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGINT) // fast shutdown
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.dir)
}
