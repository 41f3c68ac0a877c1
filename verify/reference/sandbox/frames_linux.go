//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A container engine passes no descriptors on, only standard input and output. Over these go streams of bytes, cut
// into frames: number of the stream and length of the data, 4 bytes each, big-endian, then the data, at most maxFrame
// bytes. A frame without data ends its stream.
//
// To the first process: stream 0 is the order as JSON, stream 1 and up are the sources, one after another. Then nothing
// more, and the end of input says that the parent is gone.
//
// From the first process: greeting, then the streams logStream, replyStream (a reply as JSON), and outputStream and up
// for the outputs, mixed. The reply ends last, and after it there is nothing.
const (
	maxFrame  = 64 << 10
	maxReply  = 1 << 20
	headBytes = 8

	orderStream  = 0
	sourceStream = 1

	logStream    = 0
	replyStream  = 1
	outputStream = 2

	greeting = "assay sandbox 1\n"
)

// A frameWriter writes frames; streams may write at the same time.
type frameWriter struct {
	mu  sync.Mutex
	w   io.Writer
	buf [headBytes + maxFrame]byte
}

func (f *frameWriter) frame(stream int, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	binary.BigEndian.PutUint32(f.buf[:], uint32(stream))
	binary.BigEndian.PutUint32(f.buf[4:], uint32(len(data)))
	n := copy(f.buf[headBytes:], data)
	_, err := f.w.Write(f.buf[:headBytes+n])
	return err
}

// send writes all of r as a stream.
func (f *frameWriter) send(stream int, r io.Reader) error {
	data := make([]byte, maxFrame)
	for {
		n, err := r.Read(data)
		if n > 0 {
			if err := f.frame(stream, data[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return f.frame(stream, nil)
		}
		if err != nil {
			return err
		}
	}
}

// A frameReader reads frames. Its memory is one frame, whatever the other side claims.
type frameReader struct {
	r   io.Reader
	buf [maxFrame]byte
}

// next returns the next frame, valid until the next call; io.EOF where one could have begun, io.ErrUnexpectedEOF in
// the middle of one.
func (f *frameReader) next() (stream uint32, data []byte, err error) {
	var head [headBytes]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return 0, nil, err
	}
	stream = binary.BigEndian.Uint32(head[:])
	n := binary.BigEndian.Uint32(head[4:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes, more than %d", n, maxFrame)
	}
	if _, err := io.ReadFull(f.r, f.buf[:n]); err != nil {
		return 0, nil, noEOF(err)
	}
	return stream, f.buf[:n], nil
}

// copyStream writes one whole stream to w; a frame of another stream is an error.
func (f *frameReader) copyStream(want uint32, w io.Writer) error {
	for {
		stream, data, err := f.next()
		switch {
		case err != nil:
			return noEOF(err)
		case stream != want:
			return fmt.Errorf("stream %d where %d was due", stream, want)
		case len(data) == 0:
			return nil
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// errSilent says that the other side did not greet: it is not our first process, or that one never started.
var errSilent = errors.New("no greeting")

// listen takes what a container says until its end. All of it may be lies. It returns the reply, nil when the end came
// too early, which no error tells.
func listen(from io.Reader, c *Config, log io.Writer) (*reply, error) {
	in := bufio.NewReaderSize(from, maxFrame)
	hello := make([]byte, len(greeting))
	if n, err := io.ReadFull(in, hello); err != nil || string(hello) != greeting {
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %d bytes", errSilent, n)
	}
	frames := &frameReader{r: in}
	ended := make([]bool, outputStream+len(c.Outputs))
	written := make([]int64, len(c.Outputs))
	var text []byte
	for {
		stream, data, err := frames.next()
		if (err == io.EOF || err == io.ErrUnexpectedEOF) && !ended[replyStream] {
			return nil, nil
		}
		if err == io.EOF {
			break
		}
		switch {
		case err != nil:
			return nil, err
		case stream >= uint32(len(ended)):
			return nil, fmt.Errorf("there is no stream %d", stream)
		case ended[stream] || ended[replyStream]:
			return nil, fmt.Errorf("stream %d goes on after its end", stream)
		case len(data) == 0:
			ended[stream] = true
			continue
		}
		switch stream {
		case logStream:
			if _, err := log.Write(data); err != nil {
				return nil, err
			}
		case replyStream:
			if text = append(text, data...); len(text) > maxReply {
				return nil, fmt.Errorf("a reply of more than %d bytes", maxReply)
			}
		default:
			i := stream - outputStream
			if written[i] += int64(len(data)); written[i] > c.Limits.Output {
				return nil, &LimitError{Limit: "output", What: fmt.Sprintf("output %s is larger than the limit of %d bytes", c.Outputs[i].Path, c.Limits.Output)}
			}
			if _, err := c.Outputs[i].To.Write(data); err != nil {
				return nil, err
			}
		}
	}
	r := new(reply)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("its reply: %w", err)
	}
	for i, whole := range ended {
		if r.Done && !whole {
			return nil, fmt.Errorf("stream %d has no end", i)
		}
	}
	return r, nil
}

// speak sends an order and its sources to a container.
func speak(to io.Writer, o order) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	w := &frameWriter{w: to}
	if err := w.send(orderStream, bytes.NewReader(text)); err != nil {
		return err
	}
	for i, s := range o.Sources {
		info, err := s.File.Stat()
		if err != nil {
			return err
		}
		if err := w.send(sourceStream+i, io.NewSectionReader(s.File, 0, info.Size())); err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
	}
	return nil
}
