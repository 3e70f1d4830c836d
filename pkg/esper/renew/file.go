package renew

import "github.com/esper-go/esper-go/pkg/esper/renew/internal/keyfile"

// File returns a store in the file at path, for all processes on one host that may read and write it. It
// holds one JSON document, which other programs may read: see the package documentation. Beside it lie
// path.lock, whose content means nothing and which may stay, and for moments path.next-….
//
// The file has mode 0600. Owner and group survive; what root makes anew gets those of the folder. A missing
// folder is made with mode 0700. A folder in which others could replace the file, because they may write to
// it, is refused, unless it is sticky; the folders above it are not judged. If path is a symbolic link, the
// file that it leads to is replaced, and the link stays. A relative path starts at the working directory of
// this moment. [Open] refuses a path that is empty, or holds ~, $, a control character or a URL.
func File(path string, opts ...FileOption) Store {
	var s fileSettings
	for _, opt := range opts {
		if opt != nil {
			opt(&s)
		}
	}
	return keyfile.New(path, s.group)
}

// FileOption changes how [File] works.
type FileOption func(*fileSettings)

type fileSettings struct{ group bool }

// GroupReadable gives the file mode 0640, so that other programs of its group can read the key. A folder that
// is made gets 0750.
func GroupReadable() FileOption { return func(s *fileSettings) { s.group = true } }
