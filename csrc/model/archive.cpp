#include "mtt/model/archive.hpp"

#include <caffe2/serialize/inline_container.h>

#include <array>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "mtt/model/zip.hpp"

namespace mtt {

namespace {

uint64_t little_endian(const std::string& bytes, size_t at, int width) {
    uint64_t out = 0;
    for (int k = 0; k < width; ++k) {
        out |= uint64_t(uint8_t(bytes.at(at + k))) << (8 * k);
    }
    return out;
}

}  // namespace

std::string describe(FileKind kind) {
    switch (kind) {
        case FileKind::metatomic: return "a metatomic model";
        case FileKind::metatensor_era: return "a model exported before metatomic existed (metatensor records only)";
        case FileKind::torchscript: return "a TorchScript file without the metatomic interface";
        case FileKind::pickle: return "a pickled training checkpoint, not an exported model";
        case FileKind::mtt_checkpoint: return "a safetensors file such as an mtt checkpoint, not an exported model";
        case FileKind::zip: return "a zip archive that holds no TorchScript code";
        case FileKind::truncated: return "the first part of a model file whose end is missing";
        case FileKind::unknown: break;
    }
    return "not a TorchScript archive";
}

Archive::Archive(std::string path): path_(std::move(path)) {
    std::ifstream file(path_, std::ios::binary);
    if (!file) {
        throw std::runtime_error("can not open '" + path_ + "'");
    }
    std::ostringstream buffer;
    buffer << file.rdbuf();
    const std::string content = std::move(buffer).str();
    bytes_ = content.size();

    if (content.compare(0, 4, "PK\x03\x04") == 0) {
        read_directory(content);
    } else if (content.size() > 9 && content[8] == '{' && little_endian(content, 0, 8) <= content.size() - 8) {
        kind_ = FileKind::mtt_checkpoint;
    } else if (content.size() > 2 && content[0] == '\x80' && content[1] >= 2 && content[1] <= 5) {
        kind_ = FileKind::pickle;
    }
}

void Archive::read_directory(const std::string& content) {
    kind_ = FileKind::truncated;
    auto directory = mtt::read_directory(content);
    ambiguities_ = std::move(directory.ambiguities);
    for (const auto& entry : directory.entries) {
        const size_t slash = entry.name.find('/');
        if (slash != std::string::npos && slash + 1 < entry.name.size()) {
            entries_[entry.name.substr(slash + 1)] = {entry.crc, entry.size};
        }
    }
    if (!directory.complete) {
        return;
    }
    const bool code = has("constants.pkl");
    if (has("extra/metatomic-version")) {
        kind_ = FileKind::metatomic;
    } else if (has("extra/metatensor-version")) {
        kind_ = FileKind::metatensor_era;
    } else if (code) {
        kind_ = FileKind::torchscript;
    } else {
        kind_ = has("data.pkl") ? FileKind::pickle : FileKind::zip;
    }
}

std::vector<std::string> Archive::records() const {
    std::vector<std::string> out;
    for (const auto& [name, entry] : entries_) {
        out.push_back(name);
    }
    return out;
}

bool Archive::has(const std::string& record) const { return entries_.count(record) != 0; }

std::string Archive::read(const std::string& record) const {
    if (!has(record)) {
        throw std::runtime_error("no record '" + record + "' in '" + path_ + "'");
    }
    caffe2::serialize::PyTorchStreamReader reader(path_);
    auto [data, size] = reader.getRecord(record);
    return {static_cast<const char*>(data.get()), size};
}

std::vector<std::string> Archive::damaged_records() const {
    std::vector<std::string> out;
    caffe2::serialize::PyTorchStreamReader reader(path_);
    for (const auto& [name, entry] : entries_) {
        try {
            auto [data, size] = reader.getRecord(name);
            const std::string content(static_cast<const char*>(data.get()), size);
            if (crc32(content) != entry.crc) {
                out.push_back(name);
            }
        } catch (const std::exception&) {
            out.push_back(name);
        }
    }
    return out;
}

uint32_t crc32(const std::string& bytes) {
    static const auto table = [] {
        std::array<uint32_t, 256> out{};
        for (uint32_t n = 0; n < 256; ++n) {
            uint32_t c = n;
            for (int k = 0; k < 8; ++k) {
                c = (c & 1) != 0 ? 0xedb88320U ^ (c >> 1) : c >> 1;
            }
            out[n] = c;
        }
        return out;
    }();
    uint32_t c = 0xffffffffU;
    for (const char byte : bytes) {
        c = table[(c ^ uint8_t(byte)) & 0xff] ^ (c >> 8);
    }
    return c ^ 0xffffffffU;
}

}  // namespace mtt
