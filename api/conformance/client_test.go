package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is a client's program too, when it is run as one: TestClient… run it with what it gets wrong.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "as-client" {
		os.Exit(serveAs(os.Args[2]))
	}
	goleak.VerifyTestMain(m)
}

// serveAs is a client's program with a fault.
func serveAs(fault string) int {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var c command
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		r, err := callAs(fault, c)
		if err != nil {
			r = reply{Failure: err.Error()}
		}
		switch {
		case fault == "hangs at a 404" && r.Status == 404:
			select {}
		case fault == "ends at a 403" && r.Status == 403:
			return 3
		case fault == "prints at a 401" && r.Status == 401:
			fmt.Println("Unauthorized!")
			continue
		case fault == "misspells a 401" && r.Status == 401:
			fmt.Println(`{"status":401,"eror":{}}`)
			continue
		case fault == "answers twice" && r.Status == 500 && c.Operation == "renewToken":
			fmt.Println("{}")
		}
		out, err := json.Marshal(r)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Printf("%s\n", out)
	}
	switch fault {
	case "ends badly":
		return 5
	case "does not end":
		select {}
	}
	return 0
}

// callAs makes the call, and shows the answer, with a fault.
func callAs(fault string, c command) (r reply, err error) {
	method, target := http.MethodGet, c.URL+"/v1/token-info/"
	if c.Operation == "renewToken" {
		method = http.MethodPost
		target = c.URL + "/v0/enterprise/" + c.EnterpriseID + "/developerapp/" + c.DeveloperAppID + "/renew-token/?access_token="
		if fault == "does not encode" {
			target += strings.ReplaceAll(c.Key, " ", "%20")
		} else {
			target += url.QueryEscape(c.Key)
		}
	}
	if fault == "sends an odd id" {
		target = strings.Replace(target, c.EnterpriseID, "1", 1)
	}
	req, err := http.NewRequest(method, target, nil)
	if err != nil {
		return r, err
	}
	if fault != "sends no key" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return r, err
	}
	defer res.Body.Close()
	r.Status, r.RetryAfter = res.StatusCode, res.Header.Get("Retry-After")
	dec := json.NewDecoder(res.Body)
	dec.UseNumber()
	var body map[string]any
	if err := dec.Decode(&body); err != nil {
		return r, err
	}
	if r.Status >= 300 {
		r.Error = body
	} else {
		r.Value = body
	}
	for name, v := range body {
		_, isText := v.(string)
		switch {
		case fault == "differs in spelling" && v == nil:
			delete(body, name)
		case fault == "differs in spelling" && (name == "id" || name == "status"):
			body[name] = fmt.Sprint(v)
		case fault == "differs in spelling" && isText && (strings.HasSuffix(name, "_at") || strings.HasSuffix(name, "_on")):
			body[name] = strings.Replace(v.(string), "Z", "000+00:00", 1)
		case fault == "cuts dates" && isText && strings.HasSuffix(name, "_on"):
			body[name] = strings.Split(v.(string), ".")[0] + "Z"
		case fault == "has another token" && name == "token" && r.Status == 201:
			body[name] = c.Key
		case fault == "loses faults by field" && name == "errors":
			if _, ok := v.(map[string]any); ok {
				delete(body, name)
			}
		}
	}
	switch fault {
	case "shows no header":
		r.RetryAfter = ""
	case "shows all as success":
		r.Value, r.Error = body, nil
	case "takes a 500 for a 200":
		if r.Status == 500 {
			r.Status = 200
		}
	}
	return r, nil
}
