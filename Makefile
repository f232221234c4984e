# Everything that a developer and CI type. `make help` lists it.
# Python 3.10 to 3.13: `make PYTHON=python3.12 setup` chooses one.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   := .quickstart/digits
# One process a core: paddle takes a thread each by itself.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help first-model lr-find-check monitoring-check learn-check zoo-check recording views reference release sign set-version site spelling fuzz soak-logs soak-kills soak-durability soak-elastic soak-sweep kube-versions setup quickstart quickstart-sweep test coverage check format lint types imports bench e2e e2e-local e2e-cluster kind-table release-check install-matrix e2e-docker e2e-podman image image-report image-test image-archive lock lock-images lock-gpu sbom clean gpu-check

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: expected Python 3.10 to 3.13, found none; install one, or name it by PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

setup: $(VENV)/run.stamp  ## make .venv with ftlaunch and all that it needs, by hashes

$(DATA)/train_list.txt: examples/digits.py $(VENV)/run.stamp
	$(BIN)/python examples/digits.py images $(DATA)
	$(BIN)/trainer make-lists $(DATA) --overwrite

quickstart: $(DATA)/train_list.txt  ## train on 1,797 handwritten digits on this machine, as the cluster would
	$(BIN)/ftlaunch submit examples/quickstart.yaml --on local --overwrite --follow
	$(BIN)/python examples/digits.py result .quickstart/output/quickstart

# written once a quick start has ended
QUICKSTART := .quickstart/output/quickstart/report.json
$(QUICKSTART):
	$(MAKE) --no-print-directory quickstart

quickstart-sweep: $(DATA)/train_list.txt | $(QUICKSTART)  ## smaller batches and rates on the quick start's digits in half its epochs, and whether that is better
	$(BIN)/ftlaunch sweep examples/quickstart-sweep.yaml --on local --against quickstart

UNIT := -m "not e2e and not zoo and not browser" -n $(WORKERS) --dist worksteal
test: $(VENV)/dev.stamp  ## all tests but the end-to-end ones
	$(BIN)/python -m pytest $(UNIT)

coverage: $(VENV)/dev.stamp  ## the same tests, measured, which takes twice as long; fails below 90 % of lines
	$(BIN)/python -m pytest $(UNIT) --cov --cov-report=term:skip-covered

KUBE_VERSIONS := $(patsubst requirements/kubernetes-%.txt,build/kubernetes-%,$(wildcard requirements/kubernetes-*.txt))

$(KUBE_VERSIONS): build/kubernetes-%: requirements/kubernetes-%.txt $(VENV)/dev.stamp
	rm -rf $@
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --target $@ -r $<

kube-versions: $(KUBE_VERSIONS)  ## the tests of launcher/kube with the oldest Kubernetes clients that we allow
	@for v in $(KUBE_VERSIONS); do echo "== $$v"; \
		PYTHONPATH=$$v $(BIN)/python -c "import kubernetes as k; assert '$$v'.endswith('-' + k.__version__.split('.')[0]), k" || exit 1; \
		PYTHONPATH=$$v $(BIN)/python -m pytest -q -p no:cacheprovider -n $(WORKERS) tests/launcher/kube || exit 1; done

check: lint types imports test  ## what CI runs: format, lint, types, import rules, tests

format: $(VENV)/dev.stamp  ## format the sources
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/hadolint docker/Dockerfile

types: $(VENV)/dev.stamp
	$(BIN)/mypy

imports: $(VENV)/dev.stamp
	$(BIN)/lint-imports

bench: $(VENV)/dev.stamp  ## benchmarks; figures and commands are in benchmarks/RESULTS.md
	@for b in benchmarks/bench_*.py; do echo "== $$b"; $(BIN)/python -m benchmarks.$$(basename $$b .py) || exit 1; done

e2e: e2e-local  ## real jobs, here and, where KUBECONFIG or FTLAUNCH_CLUSTER_KIT names one, on a cluster
	@if [ -n "$$KUBECONFIG$$FTLAUNCH_CLUSTER_KIT" ]; then $(MAKE) --no-print-directory e2e-cluster; else \
		echo "e2e: NOT RUN: tests/e2e/cluster, because no cluster is named; see docs/kubernetes.md" >&2; fi

e2e-local: $(VENV)/dev.stamp  ## real jobs on this machine: the wheel, two nodes, kills, the tutorial's commands
	$(BIN)/python -m pytest -m "e2e and not cluster and not docker and not monitoring and not slow" -n $(WORKERS) --dist loadfile tests/e2e

learn-check: $(VENV)/dev.stamp  ## what takes minutes each: what `init` writes trained to its accuracy, printed lines that train
	$(BIN)/python -m pytest -m "e2e and slow and not cluster" -n $(WORKERS) tests/e2e

release-check:  ## before a release, what CI has no time for: hours; a cluster, and a machine whose containers are nobody else's
	$(MAKE) coverage learn-check kube-versions install-matrix kind-table
	docker/with-engine --install --docker make image image-archive
	docker/with-engine --install --podman --no-base make e2e-podman

FIRST_MODEL := build/first-model
first-model: $(VENV)/dev.stamp  ## what `init` writes against TRIALS (30) random configs on six small data sets; resumable, hours
	$(BIN)/python benchmarks/first_model.py $(FIRST_MODEL) --trials $(or $(TRIALS),30) $(if $(FASHION),--fashion $(FASHION))

lr-find-check: $(VENV)/dev.stamp  ## what `trainer lr-find` proposes against a grid of nine rates, 20 cases; resumable, an hour
	$(BIN)/python benchmarks/lr_find_grid.py build/lr-find $(if $(FASHION),--fashion $(FASHION))

INSTALL := build/install-matrix
install-matrix: $(VENV)/dev.stamp $(DATA)/train_list.txt  ## install the wheel on fresh systems as docs/install.md says, and train there; root, debootstrap
	rm -rf $(INSTALL)/wheel
	$(BIN)/python -m build --wheel --no-isolation --outdir $(INSTALL)/wheel . > /dev/null
	tests/install-matrix $(INSTALL)/wheel/*.whl $(DATA) $(SYSTEMS)

e2e-cluster: $(VENV)/dev.stamp  ## real jobs on the cluster that is named; fails where none is
	$(BIN)/python -m tests.e2e.cluster.ready
	$(BIN)/python -m pytest -m "cluster and not table" tests/e2e/cluster

kind-table: $(VENV)/dev.stamp  ## fills the table of kinds of jobs in docs/kubernetes.md, on the cluster that is named
	rm -f tests/e2e/cluster/kinds.json
	FTLAUNCH_KIND_TABLE=$(CURDIR)/tests/e2e/cluster/kinds.json \
	  $(BIN)/python -m pytest $(wildcard tests/e2e/cluster/test_kind*.py) tests/e2e/cluster/test_progress_annotation.py
	$(BIN)/python -m tests.e2e.cluster.kind_table

# Of every SHARE networks that PaddleClas's configs name, one is built; 1 builds them all (docs/models.md).
SHARE ?= 1
ZOO   := build/zoo
$(ZOO)/zoo.stamp: requirements/zoo.txt $(VENV)/dev.stamp
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --upgrade --target $(ZOO) -r $<
	@touch $@

zoo-check: $(ZOO)/zoo.stamp  ## build what PaddleClas's configs name, and train some of them; PADDLECLAS_CONFIGS, SHARE
	@test -n "$$PADDLECLAS_CONFIGS" || { echo "zoo-check: expected PADDLECLAS_CONFIGS, a folder of PaddleClas's configs, got none" >&2; exit 1; }
	PYTHONPATH=$(ZOO) FTL_TEST_SHARE=$(SHARE) $(BIN)/python -m pytest -q -m zoo -n $(WORKERS) tests/trainer/zoo

.PHONY: page-check
page-check: $(VENV)/dev.stamp site  ## reports and the site in a browser: layout, dark, print, scripts off, links; needs Chromium
	$(BIN)/python -m pytest -q -m browser -n $(WORKERS) --dist loadfile tests/pages

TARGET ?= cpu
image:  ## build the trainer's image; TARGET=cpu or gpu, with -zoo for more networks, or driver, BASE_IMAGE=… (docs/images.md)
	docker/build $(TARGET)

image-archive: image  ## the image as a file that clusters and engines load: build/ftlaunch-trainer-TARGET.tar
	@mkdir -p build
	$(or $(CONTAINER_RUNTIME),docker) save -o build/ftlaunch-trainer-$(TARGET).tar \
		$(or $(IMAGE),$(if $(filter driver,$(TARGET)),ftlaunch-driver:$(VERSION),ftlaunch-trainer:$(VERSION)-$(TARGET)))

image-report:  ## build times, layers and parts of the image, measured
	docker/report $(TARGET)

image-test: $(VENV)/dev.stamp  ## train in the image as the strictest cluster would let it
	$(BIN)/python -m pytest -m docker tests/e2e/test_docker_image.py

e2e-docker: $(VENV)/dev.stamp  ## build the CPU image and run jobs in a real engine; needs docker or podman
	docker/build cpu
	$(BIN)/python -m pytest -m docker tests/e2e

ARCHIVE := build/ftlaunch-trainer-cpu.tar
e2e-podman: $(VENV)/dev.stamp  ## as e2e-docker in Podman, with the image of image-archive where that was made
	if [ -f $(ARCHIVE) ]; then podman load --quiet --input $(ARCHIVE); else CONTAINER_RUNTIME=podman docker/build cpu; fi
	FTLAUNCH_CONTAINER_RUNTIME=podman $(BIN)/python -m pytest -m docker -k "not it_holds and not launcher_is" tests/e2e

monitoring-check: $(VENV)/dev.stamp  ## a job beside a real Prometheus, which must be on PATH (Debian: apt-get install prometheus)
	@$(BIN)/python -m pytest -q -m monitoring tests/e2e/monitoring

soak-logs: $(VENV)/dev.stamp  ## SCHEDULES (10000) random fault schedules for following logs; prints number and seed
	$(BIN)/python -m benchmarks.soak_logs --schedules $(or $(SCHEDULES),10000) --seed $(or $(SEED),1)

soak-durability: $(VENV)/dev.stamp  ## KILLS (15) runs for each of what can be killed, the store at each call; SEED goes on; an hour
	@$(BIN)/python -m benchmarks.soak_durability --kills $(or $(KILLS),15) $(if $(SEED),--seed $(SEED)) $(SOAK)

soak-sweep: $(VENV)/dev.stamp  ## KILLS (500) drivers of studies killed at random moments, one or two at once; SEED goes on
	@$(BIN)/python -m benchmarks.soak_sweep --kills $(or $(KILLS),500) $(if $(SEED),--seed $(SEED))

soak-elastic: $(VENV)/dev.stamp  ## EVENTS (100) nodes lost and given back at random, TRAINER=1 by real ranks; SEED goes on
	@$(BIN)/python -m benchmarks.soak_elastic --events $(or $(EVENTS),100) $(if $(SEED),--seed $(SEED)) $(if $(TRAINER),--trainer)

gpu-check: $(VENV)/dev.stamp  ## what needs a GPU, held against a CPU; a report in build/gpu-check; exit 77 without a GPU
	@$(BIN)/python -m benchmarks.gpu_check $(GPU_CHECK)

soak-kills: soak-durability  ## the old name of soak-durability

fuzz: $(VENV)/dev.stamp  ## ROUNDS (10000) mutants a kind of input, with a SEED that is printed; minutes
	@seed=$(or $(SEED),$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')); echo "fuzz: ROUNDS=$(or $(ROUNDS),10000) SEED=$$seed"; \
		FUZZ_ROUNDS=$(or $(ROUNDS),10000) FUZZ_SEED=$$seed $(BIN)/python -m pytest -q --timeout 7200 tests/fuzz

build/recording.stamp: requirements/recording.txt | $(BIN)/python
	$(BIN)/python -m venv build/recording
	build/recording/bin/python -m pip install --quiet --no-deps --require-hashes -r $<
	@touch $@

views: $(VENV)/dev.stamp  ## the pictures of the live view and of `ftlaunch ui`, from real jobs; needs tmux and Chromium
	$(BIN)/python -m docs.recording.draw_views

recording: build/recording.stamp $(VENV)/run.stamp  ## the terminal recording in docs/logs.md, from a real job
	$(BIN)/python docs/recording/record_logs.py build/recording/bin

build/docs.stamp: requirements/docs.txt | $(BIN)/python
	$(BIN)/python -m venv build/docs-env
	build/docs-env/bin/python -m pip install --quiet --no-deps --require-hashes -r $<
	@touch $@

# What a reader may see: the pages, and what the programs print. NotIn and fpr are Kubernetes' and statistics' words.
PROSE := README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs benchmarks/RESULTS.md examples ftlaunch launcher trainer k8s
spelling: build/docs.stamp  ## spelling of pages and of what is printed
	build/docs-env/bin/codespell --skip '*.svg,*.cast,*.js,*.ipynb,__pycache__,k8s/crds' \
		--ignore-words-list notin,fpr,trian,sise $(PROSE)

SITE := build/ftlaunch-site.tar.gz
site: $(SITE)  ## the pages as a site that needs no network: build/site and build/ftlaunch-site.tar.gz
$(SITE): build/docs.stamp mkdocs.yml $(wildcard *.md) benchmarks/RESULTS.md $(shell find docs examples k8s -type f)
	@$(MAKE) --no-print-directory spelling
	NO_MKDOCS_2_WARNING=1 build/docs-env/bin/mkdocs build --quiet --strict
	tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C build -cf - site | gzip -9n > $(SITE)

lock:  ## renew requirements/*.txt (needs uv)
	uv pip compile -q pyproject.toml --extra trainer --extra quickstart --extra monitoring --extra notify --extra ui --extra sweep --extra tensorboard --extra build --universal \
		--python-version 3.10 --generate-hashes --no-header -o requirements/run.txt
	uv pip compile -q pyproject.toml --extra trainer --extra quickstart --extra build --extra onnx --extra monitoring --extra notify --extra ui --extra sweep --extra tensorboard --extra track --extra dev --universal \
		--python-version 3.10 --generate-hashes --no-header -c requirements/run.txt -o requirements/dev.txt
	uv pip compile -q requirements/image.in --universal --python-version 3.10 --generate-hashes --no-header \
		-c requirements/run.txt --no-emit-package paddlepaddle -o requirements/image.txt
	echo paddlepaddle | uv pip compile -q - --no-deps --universal --python-version 3.10 --generate-hashes \
		--no-header -c requirements/run.txt -o requirements/image-cpu.txt
	uv pip compile -q pyproject.toml --extra sweep --universal --python-version 3.10 --generate-hashes --no-header \
		-c requirements/run.txt -o requirements/image-driver.txt
	printf 'paddleclas==2.6.0\neasydict\nprettytable\nsix\ntqdm\nwcwidth\n' | uv pip compile -q - --no-deps --universal \
		--python-version 3.10 --generate-hashes --no-header --no-annotate -o requirements/zoo.txt
	echo hatchling | uv pip compile -q - --universal --python-version 3.10 --generate-hashes \
		--no-header -c requirements/run.txt -o requirements/image-build.txt
	printf 'asciinema==2.*\ntermtosvg==1.1.*\nsetuptools<81\n' | uv pip compile -q --universal --python-version 3.10 \
		--generate-hashes --no-header --no-annotate - -o requirements/recording.txt  # setuptools: termtosvg imports pkg_resources
	printf 'mkdocs-material==9.*\ncodespell==2.*\n' | uv pip compile -q --universal --python-version 3.10 \
		--generate-hashes --no-header --no-annotate - -o requirements/docs.txt
	for v in 35 36; do echo "kubernetes==$$v.*" | uv pip compile -q --universal --python-version 3.10 --generate-hashes \
		--no-header --no-annotate - -o requirements/kubernetes-$$v.txt; done

lock-images:  ## renew the digests of the base images in docker/Dockerfile, where a registry answers
	docker/lock-images

PADDLE_INDEX ?= https://www.paddlepaddle.org.cn/packages/stable/cu126/
lock-gpu:  ## requirements/image-gpu.txt: hashes for the GPU image, where Paddle's own index answers (needs uv)
	sed -n 's/^ARG PADDLE_GPU=//p' docker/Dockerfile | uv pip compile -q - --index "$(PADDLE_INDEX)" --python-version 3.12 \
		--python-platform x86_64-manylinux_2_28 --generate-hashes --no-header -c requirements/image.txt -o requirements/image-gpu.txt

sbom: $(VENV)/dev.stamp  ## what images and checkout are made of, with hashes, in CycloneDX: build/sbom-*.cdx.json
	@mkdir -p build
	cat requirements/image.txt requirements/image-cpu.txt | \
		$(BIN)/cyclonedx-py requirements --output-reproducible --of JSON -o build/sbom-image-cpu.cdx.json -
	cat requirements/image.txt $(wildcard requirements/image-gpu.txt) | \
		$(BIN)/cyclonedx-py requirements --output-reproducible --of JSON -o build/sbom-image-gpu.cdx.json -
	$(BIN)/cyclonedx-py requirements --output-reproducible --of JSON -o build/sbom-checkout.cdx.json requirements/run.txt

reference: $(VENV)/dev.stamp  ## docs/reference and docs/rooms.svg from the code: options, keys, names, exit codes, documents, Python, imports
	$(BIN)/python docs/reference/generate.py
	$(BIN)/python docs/rooms.py

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
release: $(VENV)/dev.stamp $(SITE) sbom  ## a release in dist/: wheel, sources, site, SBOM, image archives where they can be made, checksums
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist . > /dev/null
	cp $(SITE) dist/ftlaunch-site-$(VERSION).tar.gz
	for part in checkout image-cpu image-gpu; do cp build/sbom-$$part.cdx.json dist/sbom-$$part-$(VERSION).cdx.json; done
	@if [ ! -f $(ARCHIVE) ] && $(or $(CONTAINER_RUNTIME),docker) info > /dev/null 2>&1; then $(MAKE) --no-print-directory image-archive; fi
	@for target in cpu gpu; do \
		if [ -f build/ftlaunch-trainer-$$target.tar ]; then cp build/ftlaunch-trainer-$$target.tar dist/ftlaunch-trainer-$(VERSION)-$$target.tar; \
		else echo "release: LEFT OUT: the image for $$target: expected build/ftlaunch-trainer-$$target.tar, got none; \`make image-archive TARGET=$$target\` makes it where an engine runs" >&2; fi; done
	cd dist && sha256sum * > SHA256SUMS
	@cat dist/SHA256SUMS
	@if [ -n "$(SIGN_KEY)" ]; then $(MAKE) --no-print-directory sign; else \
		echo "release: NOT SIGNED: expected SIGN_KEY, a key of gpg, got none; \`make sign SIGN_KEY=…\` signs what is there" >&2; fi

DIST ?= dist
sign:  ## sign the checksums of a release, and with them all its files: SIGN_KEY=… as gpg knows it
	@test -n "$(SIGN_KEY)" || { echo "sign: expected SIGN_KEY, a key of gpg, got none" >&2; exit 1; }
	gpg --batch --yes --quiet --local-user '$(SIGN_KEY)' --armor --output $(DIST)/SHA256SUMS.asc --detach-sign $(DIST)/SHA256SUMS

set-version: ## TO=0.2.0 in all files that name our version, and not what others or older ones wrote; then test_image_files and goldens say what else is rendered
	@test -n "$(TO)" || { echo "set-version: expected TO=VERSION, got nothing" >&2; exit 2; }
	git grep -lF '$(VERSION)' -- pyproject.toml README.md docs examples k8s tests \
		':!tests/launcher/why/corpus' ':!tests/launcher/cli/release_*' | xargs sed -i -E \
		-e 's/^version = "$(VERSION)"/version = "$(TO)"/' \
		-e 's/(ftlaunch(-trainer|-driver)?[-: ]|version"?: ?"|version=")$(subst .,\.,$(VERSION))/\1$(TO)/g'

clean:  ## remove the environment, the quick start's folder and caches
	rm -rf $(VENV) .quickstart build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
