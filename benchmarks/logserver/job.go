package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const namespace, name = "ml", "job"

type object = map[string]any

// Job is a PaddleJob with its pods; a pod has ended once its log was followed to its last line.
type Job struct {
	set      Settings
	mux      *http.ServeMux
	sent     []atomic.Int64 // lines of each pod that have been written, as far as anybody knows
	followed atomic.Int64
	all      chan struct{}
	once     sync.Once
}

// NewJob returns the job as a handler of requests.
func NewJob(set Settings) *Job {
	job := &Job{set: set, mux: http.NewServeMux(), sent: make([]atomic.Int64, set.Pods), all: make(chan struct{})}
	kinds := func(group string, plural, kind string) object {
		return object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": []object{
			{"name": plural, "singularName": strings.ToLower(kind), "namespaced": true, "kind": kind, "verbs": []string{"get", "list", "watch"}},
		}}
	}
	version := object{"groupVersion": "kubeflow.org/v1", "version": "v1"}
	job.answer("/api", object{"kind": "APIVersions", "versions": []string{"v1"}})
	job.answer("/apis", object{"kind": "APIGroupList", "apiVersion": "v1", "groups": []object{
		{"name": "kubeflow.org", "versions": []object{version}, "preferredVersion": version},
	}})
	job.answer("/api/v1", kinds("v1", "pods", "Pod"))
	job.answer("/apis/kubeflow.org/v1", kinds("kubeflow.org/v1", "paddlejobs", "PaddleJob"))
	job.mux.HandleFunc("/apis/kubeflow.org/v1/namespaces/"+namespace+"/paddlejobs/"+name, job.serveJob)
	job.mux.HandleFunc("/api/v1/namespaces/"+namespace+"/pods", job.servePods)
	job.mux.HandleFunc("/api/v1/namespaces/"+namespace+"/pods/", job.servePod)
	return job
}

func (job *Job) ServeHTTP(out http.ResponseWriter, request *http.Request) {
	job.mux.ServeHTTP(out, request)
}

func (job *Job) answer(path string, document object) {
	job.mux.HandleFunc(path, func(out http.ResponseWriter, _ *http.Request) { writeJSON(out, document) })
}

func writeJSON(out http.ResponseWriter, document any) {
	out.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(out).Encode(document)
}

func (job *Job) hasEnded(pod int) bool { return int(job.sent[pod].Load()) == job.set.Lines }

func (job *Job) serveJob(out http.ResponseWriter, _ *http.Request) {
	kind := "Succeeded"
	for pod := range job.sent {
		if !job.hasEnded(pod) {
			kind = "Running"
		}
	}
	writeJSON(out, object{
		"apiVersion": "kubeflow.org/v1", "kind": "PaddleJob",
		"metadata": object{
			"name": name, "namespace": namespace, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z",
			"labels": object{"ftlaunch.io/run-id": strings.Repeat("0", 32)},
		},
		"spec":   object{"paddleReplicaSpecs": object{"Worker": object{"replicas": job.set.Pods}}},
		"status": object{"conditions": []object{{"type": kind, "status": "True"}}},
	})
}

// servePods lists all pods whatever the selector, because there is one job, a page at a time.
// A pod has about the size of a real one.
func (job *Job) servePods(out http.ResponseWriter, request *http.Request) {
	query, metadata := request.URL.Query(), object{}
	first, _ := strconv.Atoi(query.Get("continue"))
	end := job.set.Pods
	if limit, err := strconv.Atoi(query.Get("limit")); err == nil && limit > 0 && first+limit < end {
		end = first + limit
		metadata["continue"] = strconv.Itoa(end)
	}
	items := []object{}
	for pod := max(first, 0); pod < end; pod++ {
		items = append(items, job.describe(pod))
	}
	writeJSON(out, object{"apiVersion": "v1", "kind": "PodList", "metadata": metadata, "items": items})
}

func (job *Job) describe(pod int) object {
	environ := make([]object, 40)
	for number := range environ {
		environ[number] = object{"name": fmt.Sprintf("FTL_SETTING_%02d", number), "value": "a value of some length"}
	}
	state, phase := "running", "Running"
	if job.hasEnded(pod) {
		state, phase = "terminated", "Succeeded"
	}
	return object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": object{
			"name": fmt.Sprintf("%s-worker-%d", name, pod), "namespace": namespace, "uid": fmt.Sprintf("u%d", pod),
			"creationTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": []object{{"uid": name}},
			"labels": object{
				"training.kubeflow.org/job-name":      name,
				"training.kubeflow.org/replica-index": strconv.Itoa(pod),
			},
		},
		"spec": object{"nodeName": "m", "containers": []object{{"name": "paddle", "image": "i", "env": environ}}},
		"status": object{"phase": phase, "containerStatuses": []object{
			{"name": "paddle", "restartCount": 0, "state": object{state: object{}}},
		}},
	}
}

func (job *Job) servePod(out http.ResponseWriter, request *http.Request) {
	parts := strings.Split(strings.TrimPrefix(request.URL.Path, "/api/v1/namespaces/"+namespace+"/pods/"), "/")
	pod, err := strconv.Atoi(strings.TrimPrefix(parts[0], name+"-worker-"))
	if err != nil || pod < 0 || pod >= job.set.Pods {
		http.NotFound(out, request)
	} else if len(parts) == 1 {
		writeJSON(out, job.describe(pod))
	} else {
		job.serveLog(out, request, pod)
	}
}

func (job *Job) serveLog(out http.ResponseWriter, request *http.Request, pod int) {
	query := request.URL.Query()
	writer := Writer{set: job.set, pod: pod}
	follow, stamped := query.Get("follow") == "true", query.Get("timestamps") == "true"
	first, end := 0, int(job.sent[pod].Load())
	if since, err := time.Parse(time.RFC3339, query.Get("sinceTime")); err == nil {
		first = writer.after(since.UnixNano())
	}
	if tail, err := strconv.Atoi(query.Get("tailLines")); err == nil {
		first = max(first, end-tail)
	}
	if follow {
		end = job.set.Lines
		defer job.attach()()
	}
	var buf []byte
	for ; first < end && request.Context().Err() == nil; first += job.set.Batch {
		next := min(first+job.set.Batch, end)
		buf = writer.append(buf[:0], first, next, stamped)
		if follow && first == 0 {
			buf = job.begin(out, buf)
		}
		if _, err := out.Write(buf); err != nil {
			return
		}
		if follow {
			out.(http.Flusher).Flush()
			job.note(pod, next)
		}
	}
}

// begin lets a followed log's first batch go and waits, where it is asked for, until all pods are followed.
func (job *Job) begin(out http.ResponseWriter, buf []byte) []byte {
	if job.set.Together {
		_, _ = out.Write(buf)
		out.(http.Flusher).Flush()
		<-job.all
		return buf[:0]
	}
	return buf
}

func (job *Job) attach() func() {
	if int(job.followed.Add(1)) >= job.set.Pods {
		job.once.Do(func() { close(job.all) })
	}
	return func() { job.followed.Add(-1) }
}

func (job *Job) note(pod, lines int) {
	for {
		before := job.sent[pod].Load()
		if int64(lines) <= before || job.sent[pod].CompareAndSwap(before, int64(lines)) {
			return
		}
	}
}
