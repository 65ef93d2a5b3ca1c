(function(){"use strict";
document.querySelectorAll("table[data-sortable]").forEach(function(t){
var heads=t.tHead.rows[0].cells;
Array.prototype.forEach.call(heads,function(th,i){
if(!th.textContent)return;
var b=document.createElement("button");b.type="button";b.textContent=th.textContent;th.textContent="";th.appendChild(b);
b.addEventListener("click",function(){
var down=th.getAttribute("aria-sort")==="ascending";
Array.prototype.forEach.call(heads,function(h){h.removeAttribute("aria-sort");});
th.setAttribute("aria-sort",down?"descending":"ascending");
var body=t.tBodies[0],rows=Array.prototype.slice.call(body.rows);
function key(r){var c=r.cells[i];return c.dataset.sort!==undefined?parseFloat(c.dataset.sort):c.textContent.trim();}
function blank(v){return v===""||v==="\u2013";}
rows.sort(function(x,y){var a=key(x),b=key(y),s=down?-1:1;
if(blank(a)||blank(b))return blank(a)-blank(b);
return typeof a==="number"&&typeof b==="number"?s*(a-b):s*String(a).localeCompare(String(b),"en",{numeric:true});});
rows.forEach(function(r){body.appendChild(r);});});});});
var links={};document.querySelectorAll(".contents a").forEach(function(a){links[a.hash.slice(1)]=a;});
var sections=Array.prototype.slice.call(document.querySelectorAll("main section[id]"));
function mark(){var now=sections[0];sections.forEach(function(s){if(s.getBoundingClientRect().top<window.innerHeight*.3)now=s;});
Object.keys(links).forEach(function(k){if(now&&k===now.id)links[k].setAttribute("aria-current","true");else links[k].removeAttribute("aria-current");});}
if(Object.keys(links).length){addEventListener("scroll",mark,{passive:true});mark();}
var closed=[];
addEventListener("beforeprint",function(){closed=Array.prototype.slice.call(document.querySelectorAll("main details:not([open])"));closed.forEach(function(d){d.open=true;});});
addEventListener("afterprint",function(){closed.forEach(function(d){d.open=false;});});
})();
