// LOAD: what the text of the TorchScript code shows: devices written into it, and the extensions it needs.
#include <nlohmann/json.hpp>

#include <filesystem>

#include "mtt/runner/check.hpp"
#include "mtt/runner/context.hpp"

namespace mtt {

namespace {

Result device_result(const ArchiveView& archive) {
    for (const auto& record : archive.records()) {
        if (record.compare(0, 5, "code/") != 0 || record.size() < 3 || record.substr(record.size() - 3) != ".py") {
            continue;
        }
        const std::string code = archive.read(record);
        for (const char* text : {"torch.device(\"cuda", "torch.device(\"mps", "device=\"cuda"}) {
            const size_t at = code.find(text);
            if (at != std::string::npos) {
                return failed(
                    "devices in code", "the code of the model names a device (" +
                    code.substr(at, code.find('\n', at) - at).substr(0, 40) +
                    "): it fails on CPUs and on every other GPU of a node"
                );
            }
        }
    }
    return passed("devices in code");
}

/// Beside the file, where metatomic's save puts them. They are somebody's native code, so only the caller may choose them.
std::string advice(const ArchiveView& archive, const std::string& extension) {
    const auto folder = std::filesystem::path(archive.path()).parent_path() / "extensions";
    std::error_code ignored;
    return std::filesystem::exists(folder / extension, ignored)
        ? ". It is beside the file: if you trust its code, run with --extensions " + folder.string()
        : ": ship the folder of extensions with the file and name it (--extensions here, 'extensions' in LAMMPS)";
}

Result extensions_result(const ArchiveView& archive, const std::optional<std::string>& folder) {
    const auto declared = nlohmann::json::parse(archive.read("extra/extensions"), nullptr, false);
    if (!declared.is_array()) {
        return failed("extensions", "the list of TorchScript extensions can not be read");
    }
    std::string names;
    for (const auto& extension : declared) {
        const std::string name = extension.is_object() ? extension.value("name", "?") : extension.dump();
        const std::string path = extension.is_object() ? extension.value("path", "") : "";
        names += (names.empty() ? "" : ", ") + name;
        const bool present = std::filesystem::exists(path) ||
                             (folder.has_value() && std::filesystem::exists(std::filesystem::path(*folder) / path));
        if (!present) {
            return failed("extensions", "the model needs the TorchScript extension '" + name + "', which is not there" +
                          advice(archive, path));
        }
    }
    return passed("extensions", names.empty() ? "none needed" : "needs " + names);
}

std::vector<Result> run(Context& context) {
    const auto* archive = context.archive();
    if (archive == nullptr || archive->kind() != FileKind::metatomic) {
        return {skipped("devices in code", "there is no model code to read")};
    }
    return {device_result(*archive), extensions_result(*archive, context.extensions())};
}

const Registered check({
    "LOAD", "code", "The code names no device and every TorchScript extension that it declares is there.", "exact",
    {"devices in code", "extensions"}, run, Level::quick, {}, About::file, Severity::refuses,
}, About::file);

}  // namespace

}  // namespace mtt
