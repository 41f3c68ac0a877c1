package anchor

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/assaylab/assay/verify/internal/plain"
)

// Schema of a [Receipt].
const Schema = "assay.dev/trust-receipt/v1"

// MaxReceipt is the size that a receipt may have, in bytes.
const MaxReceipt = 16 << 10

// A Receipt says which trusted root was fetched from which TUF repository, and
// when. It lies beside the trusted root, see [ReceiptPath]. The versions are those
// of the repository's metadata (The Update Framework, section 4): none of them may
// go back at a later fetch.
type Receipt struct {
	Schema           string    `json:"schema"`
	SHA256           string    `json:"sha256"`     // hex; of the trusted root
	Repository       string    `json:"repository"` // base URL
	Target           string    `json:"target"`     // name of the trusted root in the repository
	RootVersion      int64     `json:"root_version"`
	TimestampVersion int64     `json:"timestamp_version"`
	TimestampExpires time.Time `json:"timestamp_expires"` // UTC, whole seconds
	SnapshotVersion  int64     `json:"snapshot_version"`
	TargetsVersion   int64     `json:"targets_version"`
	FetchedAt        time.Time `json:"fetched_at"` // UTC, whole seconds
}

// ReceiptPath is where the receipt of the trusted root at path lies.
func ReceiptPath(path string) string { return path + ".receipt.json" }

// Encode is the receipt as a file: the only form in which one is read. A receipt
// that could not be read again is an error.
func (r Receipt) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err == nil && len(b) >= MaxReceipt {
		err = fmt.Errorf("larger than %d bytes", MaxReceipt)
	}
	return append(b, '\n'), err
}

func (r Receipt) check() error {
	sum, err := hex.DecodeString(r.SHA256)
	switch {
	case r.Schema != Schema:
		return fmt.Errorf("its schema is %q, not %q", r.Schema, Schema)
	case err != nil || len(sum) != sha256.Size || hex.EncodeToString(sum) != r.SHA256:
		return fmt.Errorf("%q is not a SHA-256 in lower case hex", r.SHA256)
	case r.Repository == "" || r.Target == "":
		return errors.New("it names no repository or no target")
	case min(r.RootVersion, r.TimestampVersion, r.SnapshotVersion, r.TargetsVersion) < 1:
		return errors.New("a version is less than 1")
	case !whole(r.FetchedAt) || !whole(r.TimestampExpires):
		return errors.New("a time is missing, not UTC or not in whole seconds")
	}
	return nil
}

func whole(t time.Time) bool {
	return !t.IsZero() && t.Nanosecond() == 0 && t.Location() == time.UTC
}

// LoadReceipt reads the receipt beside the trusted root at path, whatever trusted
// root it is about. Its error is [fs.ErrNotExist] when there is none.
func LoadReceipt(path string) (Receipt, error) {
	name := ReceiptPath(path)
	// A FIFO that nobody writes to does not block, and is malformed.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Receipt{}, fmt.Errorf("cannot read the receipt %q: %w", filepath.Base(name), plain.Cause(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxReceipt+1))
	if err != nil {
		return Receipt{}, fmt.Errorf("cannot read the receipt %q: %w", filepath.Base(name), plain.Cause(err))
	}
	r, err := decode(b)
	if err != nil {
		return Receipt{}, fmt.Errorf("the receipt %q is malformed: %w", filepath.Base(name), err)
	}
	return r, nil
}

// decode demands the bytes that Encode writes: no key twice, none unknown, and
// no second spelling of a value.
func decode(b []byte) (Receipt, error) {
	var r Receipt
	if len(b) > MaxReceipt {
		return r, fmt.Errorf("larger than %d bytes", MaxReceipt)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, err
	}
	again, err := r.Encode()
	if err == nil && !bytes.Equal(again, b) {
		err = errors.New("not in the form in which assay writes one")
	}
	return r, err
}

// ReadReceipt returns when the trusted root at path was fetched, if the receipt
// beside it is about the bytes with that SHA-256, in lower case hex. An absent
// receipt, and one about other bytes, is not ok; one that cannot be read or is
// malformed is an error.
func ReadReceipt(path, sha256hex string) (fetched time.Time, ok bool, err error) {
	r, err := LoadReceipt(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return time.Time{}, false, nil
	case err != nil:
		return time.Time{}, false, err
	case r.SHA256 != sha256hex:
		return time.Time{}, false, nil
	}
	return r.FetchedAt, true, nil
}
