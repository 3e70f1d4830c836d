package renew

import "github.com/esper-go/esper-go/pkg/internal/keyfile"

// File returns a store in the file at path, for all processes on one host that may read and write the file.
// The file holds one JSON document, which other programs may read: see the package documentation. Beside it
// lie path.lock, a lock file that need not be removed, and during a save path.next-….
//
// A new file has mode 0600, and a missing folder is made with mode 0700. A save keeps the file's owner and group, and
// its mode if that is 0600 or 0640. [Open] warns of a file that other users can read.
//
// The file, its lock, its folder and each symbolic link on the way have to belong to root or to this user, in a sticky
// folder too, and others may not write in the folder. In a volume that others can write to (fsGroup, emptyDir), use a
// folder of its own below it, such as /data/esper/key.json. If such a folder was widened, as fsGroup does at each start
// of a pod, [Open] and a save narrow it again, unless other files lie in it. Root may act for a service: what it makes
// gets the owner and group of the folder, and then the folders above count too. What is no regular file is refused, and
// so is a file that is mounted by itself (docker -v file:file, subPath), since nobody can replace it: mount its folder.
//
// If path is a symbolic link, the file that it leads to is replaced, and the link stays. A relative path starts at the
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
