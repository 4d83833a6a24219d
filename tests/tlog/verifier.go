// Verifier answers whether checkpoints and proofs hold, by golang.org/x/mod/sumdb and nothing of Tocsin.
//
// Each line of the input is a question, its words in base64 and separated by spaces; each line of the output
// is its answer: "yes", "no" and a reason, or for "sign" a verifier key and a note, both in base64.
//
//	note         <note> <verifier key>...
//	inclusion    <checkpoint> <verifier key> <index> <entry> <hash>...
//	consistency  <checkpoint> <newer checkpoint> <verifier key> <hash>...
//	sign         <32 bytes> <name> <text>
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	header      = "go.sum database tree\n" // what tlog.ParseTree calls every log
	cosignature = 4
	mostBytes   = 1 << 20
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, mostBytes)
	for lines.Scan() {
		var words [][]byte
		for _, each := range strings.Split(lines.Text(), " ") {
			word, err := base64.StdEncoding.DecodeString(each)
			if err != nil {
				panic(err)
			}
			words = append(words, word)
		}
		said, err := answer(string(words[0]), words[1:])
		if err != nil {
			said = "no: " + err.Error()
		}
		fmt.Println(said)
	}
}

func answer(question string, words [][]byte) (string, error) {
	switch question {
	case "note":
		known, err := verifiers(words[1:])
		if err != nil {
			return "", err
		}
		opened, err := note.Open(words[0], note.VerifierList(known...))
		if err == nil && len(opened.Sigs) != len(known) {
			err = errors.New("not every key has signed")
		}
		return "yes", err
	case "inclusion":
		tree, err := open(words[0], words[1])
		if err != nil {
			return "", err
		}
		index, err := strconv.ParseInt(string(words[2]), 10, 64)
		if err != nil {
			return "", err
		}
		leaf := tlog.RecordHash(words[3])
		return "yes", tlog.CheckRecord(hashes(words[4:]), tree.N, tree.Hash, index, leaf)
	case "consistency":
		older, err := open(words[0], words[2])
		if err != nil {
			return "", err
		}
		newer, err := open(words[1], words[2])
		if err != nil {
			return "", err
		}
		return "yes", tlog.CheckTree(hashes(words[3:]), newer.N, newer.Hash, older.N, older.Hash)
	case "sign":
		return sign(words[0], string(words[1]), string(words[2]))
	}
	return "", errors.New("no such question")
}

// open verifies a checkpoint with one key, which has to be named as its first line is.
func open(text, vkey []byte) (tlog.Tree, error) {
	known, err := verifiers([][]byte{vkey})
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(text, note.VerifierList(known...))
	if err != nil {
		return tlog.Tree{}, err
	}
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	if origin != known[0].Name() {
		return tlog.Tree{}, errors.New("another log")
	}
	return tlog.ParseTree([]byte(header + rest))
}

func verifiers(vkeys [][]byte) ([]note.Verifier, error) {
	var known []note.Verifier
	for _, vkey := range vkeys {
		verifier, err := note.NewVerifier(string(vkey))
		if err != nil {
			verifier, err = newWitness(string(vkey))
		}
		if err != nil {
			return nil, err
		}
		known = append(known, verifier)
	}
	return known, nil
}

func hashes(words [][]byte) []tlog.Hash {
	var all []tlog.Hash
	for _, word := range words {
		var each tlog.Hash
		copy(each[:], word)
		all = append(all, each)
	}
	return all
}

func sign(seed []byte, name, text string) (string, error) {
	private := ed25519.NewKeyFromSeed(seed)
	vkey, err := note.NewEd25519VerifierKey(name, private.Public().(ed25519.PublicKey))
	if err != nil {
		return "", err
	}
	// A signer key is a verifier key with another beginning, and the seed in the place of the public key.
	keyHash := strings.Split(vkey, "+")[1]
	encoded := base64.StdEncoding.EncodeToString(append([]byte{1}, seed...))
	signer, err := note.NewSigner("PRIVATE+KEY+" + name + "+" + keyHash + "+" + encoded)
	if err != nil {
		return "", err
	}
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	words := []string{base64.StdEncoding.EncodeToString([]byte(vkey)), base64.StdEncoding.EncodeToString(signed)}
	return strings.Join(words, " "), err
}

// witness verifies cosignatures (C2SP tlog-cosignature, Ed25519), which the note package does not know.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newWitness(vkey string) (note.Verifier, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("no verifier key")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != cosignature {
		return nil, errors.New("no verifier key of a witness")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	if fmt.Sprintf("%x", sum[:4]) != parts[1] {
		return nil, errors.New("another key hash")
	}
	return &witness{parts[0], binary.BigEndian.Uint32(sum[:4]), key[1:]}, nil
}

func (w *witness) Name() string    { return w.name }
func (w *witness) KeyHash() uint32 { return w.hash }

func (w *witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	var message bytes.Buffer
	fmt.Fprintf(&message, "cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), text)
	return ed25519.Verify(w.key, message.Bytes(), signature[8:])
}
