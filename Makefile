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

matrix:
	sh t/matrix.sh

lint:
	sh t/lint.sh

clean:
	rm -rf build

.PHONY: all build test coverage demo deb bench bench-scale matrix lint clean
