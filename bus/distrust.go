package bus

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"muster/wire"
)

// distrust looks through the blocks that are read at the start, before the server does. The server believes the index
// of a stream and then the number of each message, without a look at its checksum: a bit flipped in a number has it
// count up to that, for ever and out of all memory. Where the numbers of a block do not follow each other the index is
// removed; without one the server holds every message against its checksum, and ends the block where one is damaged.
//
// Of the events only the last block is read at the start, and looked through.
func (b *Bus) distrust() error {
	return eachStream(b.opts.Dir, func(path string) error {
		blocks, err := filepath.Glob(filepath.Join(escape(path), "msgs", "*.blk"))
		if err != nil {
			return err
		}
		slices.SortFunc(blocks, func(x, y string) int { return blockNumber(x) - blockNumber(y) })
		if filepath.Base(path) == wire.EventsStream && len(blocks) > 1 {
			blocks = blocks[len(blocks)-1:]
		}
		for _, block := range blocks {
			content, err := readBlock(block, b.opts.Key)
			if err != nil {
				return err
			}
			if !orderly(content) {
				b.log.Error("a block of the store is damaged; its stream is read anew, message by message", "block", block)
				return dropIndex(path)
			}
		}
		return nil
	})
}

// blockNumber reads "17.blk"; 0 for what is none.
func blockNumber(path string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".blk"))
	if err != nil {
		return 0
	}
	return n
}

// readBlock gives a block's content, decrypted where it has a key.
func readBlock(path, key string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	stem := strings.TrimSuffix(path, ".blk")
	stream := filepath.Dir(filepath.Dir(stem))
	account := filepath.Base(filepath.Dir(filepath.Dir(stream)))
	sealed, err := os.ReadFile(stem + ".key")
	if err != nil {
		return content, absent(err)
	}
	inner, ok := unlock(sealed, key, account+filepath.Base(stream)+":"+filepath.Base(stem))
	if !ok {
		return nil, nil // the server drops what it has no key for
	}
	block, err := aes.NewCipher(inner)
	if err != nil {
		return nil, err
	}
	cipher.NewCTR(block, sealed[:aes.BlockSize]).XORKeyStream(content, content)
	return content, nil
}

// What a message in a block begins with: its length, its number with two marks, when it came, the length of its subject.
const (
	recordHead  = 4 + 8 + 8 + 2
	recordLeast = recordHead + 8  // with its checksum
	hasHeaders  = uint32(1) << 31 // in the length
	isTombstone = uint64(1) << 62 // in the number
	wasErased   = uint64(1) << 63 // in the number
	longestLeap = uint64(1) << 20 // between two numbers of a block; more messages fit into none
)

// orderly reports whether the messages of a block fill it, and their numbers rise without a leap. A compressed block,
// which the daemon has none of, is believed.
func orderly(block []byte) bool {
	if bytes.HasPrefix(block, []byte("cmp")) {
		return true
	}
	for last := uint64(0); len(block) > 0; {
		if len(block) < recordLeast {
			return false
		}
		length := binary.LittleEndian.Uint32(block) &^ hasHeaders
		number := binary.LittleEndian.Uint64(block[4:]) &^ wasErased
		if length < recordLeast || uint64(length) > uint64(len(block)) {
			return false
		}
		block = block[length:]
		if number&isTombstone != 0 || number <= last {
			continue // the server passes over it, too
		}
		if last > 0 && number-last > longestLeap {
			return false
		}
		last = number
	}
	return true
}
