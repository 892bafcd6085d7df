package main

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// authKinds are the values of --auth, and where each finds its secret. None
// is taken from a flag: flags show in process lists.
var authKinds = []string{"default", "managed-identity", "workload", "client-secret", "client-certificate", "azcli", "none"}

// maxCertificateBytes bounds what is read of a certificate file.
const maxCertificateBytes = 1 << 20

// identity says who the command is.
type identity struct {
	auth     string
	clientID string
	tenantID string
}

// credential makes the credential that t is reached with; nil for one that
// asks for none. No token is fetched yet.
func (i identity) credential(t target) (azcore.TokenCredential, error) {
	clientID := firstOf(i.clientID, os.Getenv("AZURE_CLIENT_ID"))
	tenantID := firstOf(i.tenantID, os.Getenv("AZURE_TENANT_ID"))
	login := loginOf(t)
	switch i.auth {
	case "none":
		if !t.loopback {
			return nil, usagef("--auth none is for a simulator on this machine; %s asks for a token", t.text)
		}
		return nil, nil
	case "default":
		if t.loopback {
			return nil, nil
		}
		return made(azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: login, TenantID: i.tenantID}))
	case "managed-identity":
		opts := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: login}
		if clientID != "" {
			opts.ID = azidentity.ClientID(clientID)
		}
		return made(azidentity.NewManagedIdentityCredential(opts))
	case "workload":
		return made(azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: login, ClientID: i.clientID, TenantID: i.tenantID}))
	case "azcli":
		return made(azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: i.tenantID}))
	case "client-secret":
		secret := os.Getenv("AZURE_CLIENT_SECRET")
		if secret == "" || clientID == "" || tenantID == "" {
			return nil, usagef("--auth client-secret: set AZURE_CLIENT_SECRET, AZURE_CLIENT_ID (or --client-id) and AZURE_TENANT_ID (or --tenant-id)")
		}
		return made(azidentity.NewClientSecretCredential(tenantID, clientID, secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: login}))
	case "client-certificate":
		certs, key, err := certificate(os.Getenv("AZURE_CLIENT_CERTIFICATE_PATH"), os.Getenv("AZURE_CLIENT_CERTIFICATE_PASSWORD"))
		if err != nil {
			return nil, err
		}
		if clientID == "" || tenantID == "" {
			return nil, usagef("--auth client-certificate: set AZURE_CLIENT_ID (or --client-id) and AZURE_TENANT_ID (or --tenant-id)")
		}
		return made(azidentity.NewClientCertificateCredential(tenantID, clientID, certs, key, &azidentity.ClientCertificateCredentialOptions{ClientOptions: login}))
	}
	return nil, usagef("--auth %q: must be one of %s", i.auth, strings.Join(authKinds, ", "))
}

// loginOf names the login service of a cluster's cloud. AZURE_AUTHORITY_HOST
// decides where it is set, and for clouds that are not listed here.
func loginOf(t target) azcore.ClientOptions {
	var o azcore.ClientOptions
	u, err := url.Parse(t.endpoint)
	if err != nil || os.Getenv("AZURE_AUTHORITY_HOST") != "" {
		return o
	}
	switch host := strings.ToLower(u.Hostname()); {
	case strings.HasSuffix(host, ".usgovcloudapi.net"):
		o.Cloud = cloud.AzureGovernment
	case strings.HasSuffix(host, ".chinacloudapi.cn"), strings.HasSuffix(host, ".azure.cn"):
		o.Cloud = cloud.AzureChina
	}
	return o
}

// made turns a constructor's typed nil into a plain one, and its error into a
// mistake of the command line.
func made[C azcore.TokenCredential](cred C, err error) (azcore.TokenCredential, error) {
	if err != nil {
		return nil, usagef("--auth: %w", err)
	}
	return cred, nil
}

func certificate(path, password string) ([]*x509.Certificate, crypto.PrivateKey, error) {
	if path == "" {
		return nil, nil, usagef("--auth client-certificate: set AZURE_CLIENT_CERTIFICATE_PATH to a PEM or PKCS#12 file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, usageError{err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCertificateBytes))
	if err != nil {
		return nil, nil, usageError{err}
	}
	var pass []byte
	if password != "" {
		pass = []byte(password)
	}
	certs, key, err := azidentity.ParseCertificates(data, pass)
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("%s: %w", path, err)}
	}
	return certs, key, nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
