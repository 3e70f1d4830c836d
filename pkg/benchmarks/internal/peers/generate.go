// Package peers lists the clients that are measured. Those of ogen are made from the API's
// description anew for each run, and are no part of the repository.
package peers

//go:generate go tool ogen -loglevel warn -clean -config ogen.yml -target ogen -package ogen ../../../../api/openapi.yaml
//go:generate go tool ogen -loglevel warn -clean -config ogenotel.yml -target ogenotel -package ogenotel ../../../../api/openapi.yaml
