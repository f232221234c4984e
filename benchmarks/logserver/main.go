// A TLS server that answers what following the logs of one PaddleJob asks of a Kubernetes API server and its
// kubelets, and what `kubectl logs -l` asks before it: so fast that the client is what a benchmark measures.
//
// Nothing is kept of the logs: a line is made when it is sent, and its number says all that is in it.
// It prints its port once it listens, writes its certificate where it is told to, and ends with its stdin.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

// Settings say what is served; see the flags.
type Settings struct {
	Pods, Lines, Batch, Ranks, StepUS int
	Together                          bool
}

func main() {
	var set Settings
	flag.IntVar(&set.Pods, "pods", 64, "pods of the job")
	flag.IntVar(&set.Lines, "lines", 6000, "lines of each pod")
	flag.IntVar(&set.Batch, "batch", 50, "lines that are sent at once")
	flag.IntVar(&set.Ranks, "ranks", 1, "ranks in a pod, whose lines take turns")
	flag.IntVar(&set.StepUS, "step-us", 10000, "microseconds between a pod's lines, by their times")
	flag.BoolVar(&set.Together, "together", false, "send a first batch, and the rest once all pods are followed")
	certificate := flag.String("certificate", "", "file to write the certificate to")
	flag.Parse()

	config, pem, err := makeTLS()
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(*certificate, pem, 0o600); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	server := http.Server{
		Handler:   NewJob(set),
		TLSConfig: config,
		ErrorLog:  log.New(io.Discard, "", 0), // clients that go without a farewell
	}
	log.Fatal(server.ServeTLS(listener, "", ""))
}
