#include "mtt/model/loading.hpp"

#include <torch/script.h>

#include <metatensor/torch.hpp>

#include <mutex>

#include "mtt/model/memory_adapter.hpp"
#include "mtt/model/model.hpp"
#include "mtt/model/operators.hpp"

namespace mtt {

namespace {

/// What metatomic demands of the file, which it reads for that: once, however many instances are loaded of these bytes.
void check_once(const Archive& archive) {
    static std::mutex mutex;
    static std::weak_ptr<const std::string> passed;
    const std::lock_guard<std::mutex> lock(mutex);
    if (passed.lock() != archive.shared_content()) {
        metatomic_torch::check_atomistic_model(archive.path());
        passed = archive.shared_content();
    }
}

}  // namespace

/// What load_atomistic_model does, from memory: the file may be another one by now.
metatensor_torch::Module load_module(const Archive& archive, const std::optional<std::string>& extensions) {
    check_once(archive);
    for (const char* record : {"extra/extensions", "extra/extensions-deps"}) {
        if (archive.has(record) && archive.read(record) != "[]") {
            metatomic_torch::load_model_extensions(archive.path(), extensions);
            // It reads the file again; what it loads are libraries of the folder named, whose names were checked.
            if (Archive(archive.path()).content() != archive.content()) {
                throw EngineError("the file has changed while it was being loaded");
            }
            break;
        }
    }
    // Debug records only serve to show the source of an error, and are not checked by libtorch.
    return torch::jit::load(
        std::make_shared<MemoryAdapter>(archive.shared_content()), std::nullopt, /*load_debug_files=*/false
    );
}

void check_operators(const std::shared_ptr<const Archive>& archive, const std::optional<std::string>& extensions,
                     const std::vector<std::string>& allowed) {
    // Checks load many instances of one file.
    static std::mutex mutex;
    static std::weak_ptr<const Archive> passed;
    static std::vector<std::string> passed_with;
    const std::lock_guard<std::mutex> lock(mutex);
    if (passed.lock() == archive && passed_with == allowed) {
        return;
    }
    passed.reset();
    const auto foreign = foreign_operators(*archive, allowed, extensions.has_value());
    if (!foreign.empty()) {
        throw EngineError(
            "it is not loaded, because of " + describe(foreign.front()) +
            (foreign.size() > 1 ? ", and " + std::to_string(foreign.size() - 1) + " more" : "")
        );
    }
    passed = archive;
    passed_with = allowed;
}

}  // namespace mtt
