package kusto

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"kustospool/transport"
)

// Configuration is what the service says of queued ingestion over REST
// (protocol reference section 7.1).
type Configuration struct {
	// Absent: the service does not have that API.
	Absent bool
	// PreferREST: the service would rather be asked over REST than by queue.
	PreferREST bool
	// Containers to upload to; may be empty.
	Containers []Resource
}

const opConfiguration = "ingestion configuration"

// Configuration returns the service's configuration, or a stale one while the
// service cannot be asked. The error is a *[transport.Error], and there only
// when there is none at all.
func (in *Ingestion) Configuration(ctx context.Context) (*Configuration, error) {
	c, err := in.config.Get(ctx)
	if err != nil {
		return nil, transport.Classify(err, false)
	}
	return c, nil
}

// InvalidateConfiguration makes the configuration due for a refresh. It is
// heard at most every 5 seconds.
func (in *Ingestion) InvalidateConfiguration() { in.config.Invalidate() }

func (in *Ingestion) fetchConfiguration(ctx context.Context) (*Configuration, time.Time, error) {
	reply, err := in.service.exchange(ctx, exchange{
		op: opConfiguration, method: http.MethodGet, url: in.service.cluster.DM + "/v1/rest/ingestion/configuration",
		requestID: NewRequestID(), role: RoleIngest,
	})
	if StatusOf(err) == http.StatusNotFound {
		return &Configuration{Absent: true}, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	return parseConfiguration(reply, in.service.cluster.Loopback, in.service.secrets)
}

// parseConfiguration reads the reply. Names are taken in any case, since their
// casing differs between the documentation and the SDKs. Lake folders are
// passed over. ends is the earliest end of a container's SAS.
func parseConfiguration(reply []byte, loopback bool, secrets *Secrets) (*Configuration, time.Time, error) {
	var in struct {
		ContainerSettings struct {
			Containers []struct{ Path string }
		}
		IngestionSettings struct {
			PreferredIngestionMethod string
		}
	}
	if err := json.Unmarshal(reply, &in); err != nil {
		return nil, time.Time{}, &transport.Error{Op: opConfiguration, Class: transport.Transient, Message: "the reply is not the JSON that is expected"}
	}
	c := new(Configuration)
	switch strings.ToLower(in.IngestionSettings.PreferredIngestionMethod) {
	case "rest", "v2":
		c.PreferREST = true
	}
	var ends time.Time
	for _, p := range in.ContainerSettings.Containers {
		// One that lends no signature is of a kind that needs a credential.
		res, ok := ParseResource(p.Path, loopback)
		if !ok || res.uri.RawQuery == "" {
			continue
		}
		if len(c.Containers) == maxResources {
			break
		}
		c.Containers = append(c.Containers, res)
		ends = earlier(ends, res)
	}
	secrets.lent(&c.Containers)
	return c, ends, nil
}
