// The archive itself: libtorch and other readers of zip archives must find the same records in it.
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>

#include "mtt/model/operators.hpp"

namespace mtt {

namespace {

/// What writers leave between records: descriptors of at most 24 bytes, and what `mtt golden add` leaves where a record
/// has become shorter, so that the numbers of tensors still begin at multiples of 64.
constexpr uint64_t largest_gap = 24 + 63;

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool starts_with(const std::string& text, const std::string& start) { return text.compare(0, start.size(), start) == 0; }

/// Records that libtorch reads, or that extensions of the format keep.
bool has_a_purpose(const std::string& record) {
    static const std::set<std::string> names = {
        "data.pkl", "constants.pkl", "version", ".data/version", "byteorder", ".data/serialization_id",
        ".format_version", ".storage_alignment", "traced_inputs.pkl",
    };
    if (names.count(record) != 0 || starts_with(record, "extra/")) {
        return true;
    }
    if (starts_with(record, "code/")) {
        return ends_with(record, ".py") || ends_with(record, ".debug_pkl");
    }
    for (const std::string folder : {"data/", "constants/", "traced_inputs/"}) {
        if (starts_with(record, folder)) {
            return record.find('.', folder.size()) == std::string::npos;
        }
    }
    return false;
}

/// Printable ASCII, and nothing that leads out of a folder.
bool is_plain_name(const std::string& name) {
    const bool printable = std::all_of(name.begin(), name.end(), [](unsigned char c) { return c > 31 && c < 127 && c != '\\'; });
    const std::string slashes = "/" + name + "/";
    return printable && name.size() < 1000 && slashes.find("/../") == std::string::npos &&
           slashes.find("/./") == std::string::npos && slashes.find("//") == std::string::npos;
}

std::string shown(const std::string& name) {
    std::string out = name.substr(0, 100);
    std::replace_if(out.begin(), out.end(), [](unsigned char c) { return c < 32 || c > 126; }, '?');
    return out;
}

uint64_t number(const std::string& bytes, uint64_t at, int width) {
    uint64_t out = 0;
    for (int k = 0; k < width && at + uint64_t(k) < bytes.size(); ++k) {
        out |= uint64_t(uint8_t(bytes[at + uint64_t(k)])) << (8 * k);
    }
    return out;
}

class Layout {
public:
    Layout(const Archive& archive, std::vector<Foreign>& out): archive_(archive), out_(out) {}

    void check() {
        if (!archive_.ends_cleanly()) {
            add("", "bytes follow the archive, or stand between its directory and its end");
        }
        check_names();
        check_places();
        check_version();
    }

private:
    void add(const std::string& record, const std::string& why) { out_.push_back({"archive", shown(record), 0, why}); }

    void check_names() {
        std::set<std::string> names;
        std::string folder;
        for (const auto& entry : archive_.directory()) {
            const size_t slash = entry.name.find('/');
            if (slash == std::string::npos || slash == 0 || slash + 1 == entry.name.size() || !is_plain_name(entry.name)) {
                add(entry.name, "this is no name of a record in the folder of an archive");
                continue;
            }
            if (folder.empty()) {
                folder = entry.name.substr(0, slash);
            }
            if (entry.name.substr(0, slash) != folder) {
                add(entry.name, "the archive has more than one folder: what is loaded is not what other programs read");
            }
            std::string lower = entry.name;
            std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return char(std::tolower(c)); });
            if (!names.insert(lower).second) {
                add(entry.name, "the archive has two records of this name");
            }
            if (!has_a_purpose(entry.name.substr(slash + 1))) {
                add(entry.name, "exports do not have such a record");
            }
        }
    }

    /// Each record where the directory says, one after the other from the first byte, with the same name and packing.
    void check_places() {
        auto entries = archive_.directory();
        std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
        const std::string& content = archive_.content();
        uint64_t end = 0;
        for (const auto& entry : entries) {
            const uint64_t at = entry.offset;
            const uint64_t name_length = number(content, at + 26, 2);
            const uint64_t data = at + 30 + name_length + number(content, at + 28, 2);
            if (at < end || at - end > (end == 0 ? 0 : largest_gap)) {
                return add(entry.name, "bytes that belong to no record stand before it, or it overlaps another");
            }
            if (at >= content.size() || content.compare(at, 4, "PK\x03\x04") != 0 || data > content.size() ||
                content.compare(at + 30, name_length, entry.name) != 0 || number(content, at + 8, 2) != entry.method ||
                number(content, at + 6, 2) != entry.flags) {
                return add(entry.name, "its own header says something else than the directory");
            }
            if ((entry.method != 0 && entry.method != 8) || (entry.flags & 1U) != 0 ||
                (entry.method == 0 && entry.packed != entry.size) || entry.packed > content.size() ||
                entry.size > 1100 * entry.packed + 1100) {
                return add(entry.name, "it is packed in a way that exports are not");
            }
            end = data + entry.packed;
        }
        if (end > archive_.directory_offset() || archive_.directory_offset() - end > largest_gap) {
            add("", "bytes that belong to no record stand before the directory");
        }
    }

    /// libtorch reads other things from archives of other versions.
    void check_version() {
        const bool two = archive_.has("version") && archive_.has(".data/version");
        const std::string record = archive_.has(".data/version") ? ".data/version" : "version";
        std::string text;
        try {
            text = archive_.read(record);
        } catch (const std::exception&) {
            text = "";
        }
        while (!text.empty() && text.back() == '\n') {
            text.pop_back();
        }
        const bool digits = !text.empty() && text.size() < 4 && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
        if (two || !digits || std::stoi(text) < 3) {
            add(record, "it is not the version of an archive that this program knows");
        }
    }

    const Archive& archive_;
    std::vector<Foreign>& out_;
};

bool leads_out(const std::string& path) {
    const std::string slashes = "/" + path + "/";
    return path.empty() || path[0] == '/' || path.find('\\') != std::string::npos || path.find('\0') != std::string::npos ||
           slashes.find("/../") != std::string::npos;
}

}  // namespace

std::vector<Foreign> foreign_layout(const Archive& archive) {
    std::vector<Foreign> out;
    Layout(archive, out).check();
    return out;
}

std::vector<Foreign> foreign_extensions(const Archive& archive) {
    std::vector<Foreign> out;
    for (const char* record : {"extra/extensions", "extra/extensions-deps"}) {
        if (!archive.has(record)) {
            continue;
        }
        const auto add = [&](const std::string& why) { out.push_back({"extension", record, 0, why}); };
        nlohmann::json declared;
        try {
            declared = nlohmann::json::parse(archive.read(record));
        } catch (const std::exception&) {
            add("the list of extensions can not be read");
            continue;
        }
        if (!declared.is_array()) {
            add("the list of extensions is none");
            continue;
        }
        for (const auto& item : declared) {
            const bool named = item.is_object() && item.contains("name") && item["name"].is_string() &&
                               item.contains("path") && item["path"].is_string();
            const std::string name = named ? item["name"].get<std::string>() : "";
            if (!named || name.empty() || name.find_first_of("/\\") != std::string::npos ||
                name.find('\0') != std::string::npos || name[0] == '.') {
                add("'" + shown(name) + "' is no name of an extension");
            } else if (leads_out(item["path"].get<std::string>())) {
                add("extension '" + shown(name) + "' would be loaded from '" + shown(item["path"].get<std::string>()) +
                    "', outside of the folder of extensions; export the model again with its extensions collected");
            }
        }
    }
    return out;
}

}  // namespace mtt
