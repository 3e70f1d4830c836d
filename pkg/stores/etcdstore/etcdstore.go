// Package etcdstore stores the document of package renew in etcd. It is the example in the README of package storetest,
// not a package to import.
package etcdstore

import (
	"context"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/esper-go/esper-go/pkg/esper/renew"
)

// Store keeps the document in the value of one etcd key. The version is the revision at which that key last changed.
type Store struct {
	Client *clientv3.Client
	Key    string
}

// Load reads what a majority of the members has agreed on. Do not add WithSerializable here: it lets a member that lags
// behind answer.
func (s Store) Load(ctx context.Context) (document []byte, version string, err error) {
	got, err := s.Client.Get(ctx, s.Key)
	if err != nil || len(got.Kvs) == 0 {
		return nil, "", err
	}
	return got.Kvs[0].Value, strconv.FormatInt(got.Kvs[0].ModRevision, 10), nil
}

// Save compares and writes in one transaction. Etcd answers once a majority of the members has the change on disk.
func (s Store) Save(ctx context.Context, document []byte, version string) (newVersion string, err error) {
	revision := int64(0) // the revision of a key that does not exist
	if version != "" {
		if revision, err = strconv.ParseInt(version, 10, 64); err != nil || revision <= 0 {
			return "", renew.ErrConflict // this store never returned such a version
		}
	}
	done, err := s.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(s.Key), "=", revision)).
		Then(clientv3.OpPut(s.Key, string(document))).
		Commit()
	switch {
	case err != nil:
		return "", err // the write may have taken effect all the same, which renew.Store allows
	case !done.Succeeded:
		return "", renew.ErrConflict
	}
	return strconv.FormatInt(done.Header.Revision, 10), nil
}

// String names the store in errors.
func (s Store) String() string { return "the etcd key " + s.Key }
