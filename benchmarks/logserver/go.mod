module ftlaunch/benchmarks/logserver

go 1.21
