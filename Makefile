all: build

build:
	sh conf/build.sh

test:
	sh t/run.sh

demo:
	sh conf/demo.sh

deb:
	sh conf/deb.sh

clean:
	rm -rf build

.PHONY: all build test demo deb clean
