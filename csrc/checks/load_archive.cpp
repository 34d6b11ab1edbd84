// LOAD: what the bytes of the file say before any code is loaded.
#include <nlohmann/json.hpp>

#include "mtt/model/torch_model.hpp"
#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

std::string advice(FileKind kind) {
    switch (kind) {
        case FileKind::mtt_checkpoint:
        case FileKind::pickle: return "export the checkpoint first and give the engine the .pt file";
        case FileKind::truncated: return "the copy was interrupted: copy or export it again";
        case FileKind::metatensor_era: return "export it again with a current metatomic";
        case FileKind::torchscript: return "it must be saved through metatomic's AtomisticModel";
        default: return "engines load files written by metatomic's AtomisticModel.save";
    }
}

/// Every record must have the checksum that the archive promises: libtorch reads damaged weights without a word.
Result records_result(const ArchiveView& archive) {
    const auto damaged = archive.damaged_records();
    if (damaged.empty()) {
        return passed("checksums", std::to_string(archive.records().size()) + " records");
    }
    return failed(
        "checksums", "record '" + damaged.front() + "' does not have its checksum" +
        (damaged.size() > 1 ? " (" + std::to_string(damaged.size()) + " such records)" : "") +
        ": an engine would load damaged weights or code without noticing"
    );
}

Result metadata_result(const ArchiveView& archive) {
    for (const char* record : {"extra/model-metadata", "extra/extensions", "extra/extensions-deps"}) {
        if (!archive.has(record) || nlohmann::json::parse(archive.read(record), nullptr, false).is_discarded()) {
            return failed("metadata", std::string("record '") + record + "' is missing or not JSON");
        }
    }
    return passed("metadata", "exported with metatomic " + archive.read("extra/metatomic-version"));
}

std::vector<Result> run(Context& context) {
    const auto* archive = context.archive();
    if (archive == nullptr) {
        return {skipped("file", "the model does not come from a file")};
    }
    if (archive->kind() != FileKind::metatomic) {
        return {failed("file", "this is " + describe(archive->kind()) + "; " + advice(archive->kind()))};
    }
    return {passed("file", describe(archive->kind())), records_result(*archive), metadata_result(*archive)};
}

const Registered check({
    "LOAD", "archive",
    "The file is a metatomic TorchScript archive, complete and undamaged, with readable metadata.",
    "exact",
    {"file", "checksums", "metadata"}, run, Level::quick, {}, About::file, Severity::refuses,
}, About::file);

}  // namespace

}  // namespace mtt
