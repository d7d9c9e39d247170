// OPA as an ext_authz server, for the benchmark: the library's prepared query behind the gRPC service.
//
//	opa-ext-authz ADDRESS POLICY.rego
//
// It does what OPA's Envoy plugin does for a request, and less: the input holds the method, the path, the headers and
// the parsed body, made from the message without a detour over JSON, and nothing is logged. Verified tokens are kept
// in OPA's own cache of `io.jwt`. The plugin itself is not used: its module has no entry in the checksum database, so
// that what is built could not be verified.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown/cache"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

const caching = `{"inter_query_builtin_value_cache": {"named": {"io_jwt": {"max_num_entries": 100000}}}}`

type server struct {
	auth.UnimplementedAuthorizationServer
	query rego.PreparedEvalQuery
}

func (s *server) Check(ctx context.Context, request *auth.CheckRequest) (*auth.CheckResponse, error) {
	http := request.GetAttributes().GetRequest().GetHttp()
	headers := make(map[string]any, len(http.GetHeaders()))
	for name, value := range http.GetHeaders() {
		headers[name] = value
	}
	var body any
	if err := json.Unmarshal([]byte(http.GetBody()), &body); err != nil {
		body = nil
	}
	input := map[string]any{
		"parsed_body": body,
		"attributes": map[string]any{"request": map[string]any{"http": map[string]any{
			"method": http.GetMethod(), "path": http.GetPath(), "headers": headers,
		}}},
	}
	results, err := s.query.Eval(ctx, rego.EvalInput(input))
	if err == nil && results.Allowed() {
		ok := &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{}}
		return &auth.CheckResponse{Status: &status.Status{Code: int32(codes.OK)}, HttpResponse: ok}, nil
	}
	if err != nil {
		log.Print(err)
	}
	denied := &auth.CheckResponse_DeniedResponse{DeniedResponse: &auth.DeniedHttpResponse{}}
	return &auth.CheckResponse{Status: &status.Status{Code: int32(codes.PermissionDenied)}, HttpResponse: denied}, nil
}

func run() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("usage: opa-ext-authz ADDRESS POLICY.rego")
	}
	config, err := cache.ParseCachingConfig([]byte(caching))
	if err != nil {
		return err
	}
	ctx := context.Background()
	query, err := rego.New(
		rego.Query("data.authz.allow"),
		rego.Load([]string{os.Args[2]}, nil),
		rego.InterQueryBuiltinValueCache(cache.NewInterQueryValueCache(ctx, config)),
	).PrepareForEval(ctx)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	grpcServer := grpc.NewServer()
	auth.RegisterAuthorizationServer(grpcServer, &server{query: query})
	return grpcServer.Serve(listener)
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
