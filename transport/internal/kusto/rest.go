package kusto

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	azruntime "github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"

	"kustospool/transport"
)

// Role is a role that a request needs, in the service's words (protocol
// reference section 1.4). An operator reads it when the request is refused.
type Role string

// The roles of ingestion.
const (
	RoleIngest Role = "Ingestor of the table or of the database"
	RoleTrack  Role = "User of the database"
	RoleLook   Role = "User, Viewer or Monitor of the database"
)

// exchange is one request to a Kusto endpoint.
type exchange struct {
	op        string
	method    string
	url       string
	body      []byte // JSON; nil for none
	effect    Effect
	requestID string
	role      Role
}

// exchange makes one HTTP attempt and returns the body of a 200. The error is
// a *[transport.Error] with the request's id; where the service replied its
// cause is a [RESTError].
func (s *Service) exchange(ctx context.Context, x exchange) ([]byte, error) {
	ctx, sent := Watch(ctx)
	req, err := azruntime.NewRequest(ctx, x.method, x.url)
	if err != nil {
		return nil, &transport.Error{Op: x.op, Class: transport.Transient, Message: "the endpoint has no valid address"}
	}
	s.sign(req.Raw().Header, x.requestID)
	if x.body != nil {
		if err := req.SetBody(streaming.NopCloser(bytes.NewReader(x.body)), "application/json; charset=utf-8"); err != nil {
			return nil, &transport.Error{Op: x.op, Class: transport.Transient, Message: s.secrets.Words(err.Error())}
		}
	}
	resp, err := s.pipeline.Do(req)
	if err != nil {
		return nil, withRequest(s.secrets.WireFailure(x.op, err, x.effect, sent), x.requestID)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, withRequest(s.secrets.WireFailure(x.op, err, x.effect, sent), x.requestID)
	}
	if resp.StatusCode == http.StatusOK {
		return reply, nil
	}
	re := decodeRESTError(resp.StatusCode, reply, s.secrets)
	code := re.Code
	if code == "" {
		code = strconv.Itoa(re.Status)
	}
	return nil, &transport.Error{Op: x.op, Class: commandClass(re, x.effect), Code: code, Message: re.Message + advice(re.Status, x.role),
		RetryAfter: RetryAfter(resp.Header, time.Now()), RequestID: x.requestID, Err: re}
}

// advice says what an operator can do about a refusal.
func advice(status int, role Role) string {
	switch {
	case status == http.StatusUnauthorized:
		return "; the service does not take the token: check tenant, cloud and cluster of the credential"
	case status == http.StatusForbidden && role != "":
		return "; the credential needs the role " + string(role)
	}
	return ""
}

// StatusOf is the HTTP status of an error reply of a Kusto endpoint, 0 where
// there was none.
func StatusOf(err error) int {
	var re *RESTError
	if errors.As(err, &re) {
		return re.Status
	}
	return 0
}

// Forbidden reports whether err, or all that it joins, is an endpoint's refusal for
// want of a role, which waiting does not change.
func Forbidden(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all := joined.Unwrap()
		return len(all) > 0 && !slices.ContainsFunc(all, func(err error) bool { return !Forbidden(err) })
	}
	return StatusOf(err) == http.StatusForbidden
}

// Refused reports whether an endpoint answered a question with a refusal that
// may be about what it names, a database or a table, and is not one of all
// questions alike.
func Refused(err error) bool {
	switch StatusOf(err) {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
		return true
	}
	return false
}
