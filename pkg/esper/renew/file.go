package renew

import "github.com/esper-go/esper-go/pkg/internal/keyfile"

// File returns a store in the file at path, for all processes on one host that may read and write the file.
// The file holds one JSON document, which other programs may read: see the package documentation. Beside it
// lie path.lock, a lock file that need not be removed, and during a save path.next-….
//
// The file has mode 0600. A save keeps its owner and group. What root makes anew gets the owner and group of
// the folder that it is in. A missing folder is made with mode 0700. A folder in which another user could
// replace the file is refused, unless the folder is sticky; the folders above it are not checked. If path is
// a symbolic link, the file that it leads to is replaced, and the link stays. A relative path starts at the
// working directory at the time of the call. [Open] refuses a path that is empty or a URL, begins with ~, or
// holds a $, a %VARIABLE% or a control character.
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

// GroupReadable gives the file mode 0640, so that other programs of its group can read the key. A missing
// folder is made with mode 0750.
func GroupReadable() FileOption { return func(s *fileSettings) { s.group = true } }
