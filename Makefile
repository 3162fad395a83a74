all: build

build:
	sh conf/build.sh

test:
	sh t/run.sh

coverage:
	sh t/run.sh --coverage

demo:
	sh conf/demo.sh

deb:
	sh conf/deb.sh

bench:
	sh t/bench/run.sh

bench-scale:
	sh t/bench/scale.sh

bench-cluster:
	sh t/bench/cluster.sh

matrix:
	sh t/matrix.sh

lint:
	sh t/lint.sh

clean:
	rm -rf build

help:
	@echo 'make                builds build/ngx_http_billing_module.so'
	@echo 'make test           runs the test suites'
	@echo 'make lint           runs compilers, analyzers and shellcheck over the sources'
	@echo 'make coverage       runs the suites and lists the lines that none of them runs'
	@echo 'make demo           runs nginx with sample cameras on port 8080'
	@echo 'make deb            builds the Debian package'
	@echo 'make bench          compares the cost of an answer with other programs'
	@echo 'make bench-scale    measures long lists and large caches'
	@echo 'make bench-cluster  compares a Redis Cluster with one server'
	@echo 'make matrix         runs the suites in a root of each Debian release (as root)'
	@echo 'make clean          removes build/'
	@echo
	@echo 'Each target runs a script, which prints its options with --help.'
	@echo 'CONTRIBUTING.md tells where to begin.'

.PHONY: help all build test coverage demo deb bench bench-scale bench-cluster matrix lint clean
